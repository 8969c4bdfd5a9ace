"""Binary addition, the first task of a recurrent network: find the carry, and remember it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..compilation import clock
from ..display import Displayed
from ..rnn.cells import CellName
from ..rnn.config import Activation, Array
from ..rnn.fitting import fit
from ..rnn.history import History
from ..rnn.network import RNN
from ..rnn.optimizers import Adam
from ..streams import MAX_SEED
from ..validation import as_int, require_memory

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRAINED, HELD, LONGER, PAIRS = 2048, 256, 10, 64  # pairs to train and test on; longer ones to choose by


@dataclass(frozen=True, eq=False, repr=False)
class AdditionResult(Displayed):
    """What `addition` found.

    history: losses of all k networks, of pairs that were not trained on in `history.validation`.
    solved: (k,) bool, which networks add those pairs without an error.
    best: the network, of those that solve it, with the fewest errors, then the least loss, on pairs ten times
        as long; it stands alone.  best_model: its number of 0..k-1.
    columns: of the pairs that were trained on.  delay: steps from a column to its digit.
    test_pairs, test_columns: the last test of `best`, in which it got test_errors digits wrong.
    seconds: of the training, the last test.
    """

    history: History
    solved: NDArray[np.bool_]
    best: RNN
    best_model: int
    columns: int
    delay: int
    test_pairs: int
    test_columns: int
    test_errors: int
    seconds: tuple[float, float]

    def __str__(self) -> str:
        digits = self.test_pairs * (self.test_columns + 1)
        return (
            f"{np.count_nonzero(self.solved)} of {len(self.solved)} networks add {HELD} unseen pairs of "
            f"{self.columns} columns without an error ({self.seconds[0]:.1f} s of training)\n"
            f"the best of them (number {self.best_model}) added {self.test_pairs} pairs of "
            f"{self.test_columns} columns with {self.test_errors} wrong digits of {digits} "
            f"({self.seconds[1]:.1f} s)"
        )

    def _summary(self) -> dict[str, Any]:
        solved = f"{np.count_nonzero(self.solved)} of {len(self.solved)}"
        return {"solved": solved} | {
            name: getattr(self, name)
            for name in ("columns", "delay", "best_model", "test_columns", "test_errors")
        }

    def _figure(self) -> Figure:
        return self.figure()

    def figure(self) -> Figure:
        """The learning curves of all networks."""
        from ..plot import learning_curve_figure

        return learning_curve_figure(self.history)


def addition_task(
    pairs: int, columns: int, delay: int = 2, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.bool_]]:
    """Random pairs of binary numbers, least significant column first, and the digits of their sums.

    Returns x (pairs, t, 2) float32 of 0 and 1, with t = columns + 1 + delay, the last 1 + delay steps 0;
    targets (pairs, t) int32, at step t the digit of column t - delay, one digit more than there are columns;
    mask (pairs, t) bool, False in the first `delay` steps.  Raises ValueError for sizes that cannot be.
    """
    pairs, columns = as_int("pairs", pairs, 1, 2**31 - 1), as_int("columns", columns, 1, 2**31 - 1)
    delay, seed = as_int("delay", delay, 0, 2**16), as_int("seed", seed, 0, MAX_SEED)
    generator = np.random.Generator(np.random.Philox(key=seed))
    steps = columns + 1 + delay
    require_memory(f"{pairs} pairs of {columns} columns", pairs * steps * 15)
    x = np.zeros((pairs, steps, 2), np.float32)
    x[:, :columns] = generator.integers(0, 2, (pairs, columns, 2), np.int8)
    targets, carry = np.zeros((pairs, steps), np.int32), np.zeros(pairs, np.int32)
    for step in range(columns + 1):
        total = x[:, step].sum(axis=1).astype(np.int32) + carry
        targets[:, step + delay], carry = total & 1, total >> 1
    return x, targets, np.broadcast_to(np.arange(steps) >= delay, (pairs, steps)).copy()


def count_errors(rnn: RNN, task: tuple[Array, Array, Array]) -> NDArray[np.int64]:
    """Wrong digits of each network, or () of one, the greater of two outputs being the digit."""
    x, targets, mask = task
    outputs, _ = rnn.predict(x)
    wrong = ((outputs[..., 1] > outputs[..., 0]) != targets) & mask
    return np.count_nonzero(wrong, axis=(-2, -1))


def addition(
    models: int = 64,
    cell: CellName = "lstm",
    activation: Activation = "tanh",
    hidden_size: int = 3,
    columns: int = 8,
    delay: int = 2,
    epochs: int = 40,
    learning_rate: float = 0.03,
    test_pairs: int = 1000,
    test_columns: int = 1000,
    seed: int = 0,
    backend: str | None = None,
    progress: bool = True,
) -> AdditionResult:
    """Train k networks at once to add binary numbers, and test the best on far longer ones.

    models: k, network j has seed + j.  hidden_size, cell, activation: as in `RNN`.
    columns: of the 2048 pairs to train on (and of 256 others to test on), in batches of 32.
    delay: steps between a column and the digit of the sum that is asked for.
    learning_rate: of `Adam`, the gradient norm clipped at 1.
    test_pairs, test_columns: the last test.
    backend, progress: as in `fit`.

    Elman networks of 3 hidden units add with a delay of 0 or 1, but have no room to remember a digit for two
    steps beside the carry; gated ones have.  Raises ValueError for arguments that cannot be, and
    RuntimeError if no network adds the test pairs of the training length.
    """
    seed = as_int("seed", seed, 0, MAX_SEED - 3)
    test_pairs = as_int("test_pairs", test_pairs, 1, 2**31 - 1)
    test_columns = as_int("test_columns", test_columns, 1, 2**31 - 1)
    rnn = RNN(
        2, hidden_size, 2, cell, activation, models=models, initial="uniform", seed=seed, backend=backend
    )
    trained, held = (
        addition_task(pairs, columns, delay, seed + i) for i, pairs in enumerate((TRAINED, HELD))
    )
    digits = max(test_pairs * (test_columns + 1 + delay), models * PAIRS * LONGER * (columns + 1 + delay))
    for where in {"cpu", rnn.backend}:
        require_memory("the last test", digits * (24 + 4 * rnn.hidden_size), backend=where)
    begin = clock()
    history = fit(
        rnn,
        *trained[:2],
        (*held[:2], None, held[2]),
        optimizer=Adam(learning_rate, clip=1.0),
        epochs=epochs,
        mask=trained[2],
        seed=seed,
        progress=progress,
    )
    trained_in = clock() - begin
    solved = count_errors(rnn, held) == 0
    if not solved.any():
        least = np.nanmin(history.validation[-1])  # type: ignore[index]
        raise RuntimeError(
            f"none of the {models} networks learnt to add; the least loss is {least:.3g}, "
            "give more networks, epochs or hidden units, or a shorter delay"
        )
    begin = clock()
    x, targets, mask = longer = addition_task(PAIRS, LONGER * columns, delay, seed + 2)
    order = np.lexsort((rnn.loss(x, targets, mask=mask)[0], count_errors(rnn, longer), ~solved))
    best = rnn.copy(model=int(order[0]))
    errors = count_errors(best, addition_task(test_pairs, test_columns, delay, seed + 3))
    seconds = trained_in, clock() - begin
    return AdditionResult(
        history, solved, best, int(order[0]), columns, delay, test_pairs, test_columns, int(errors), seconds
    )
