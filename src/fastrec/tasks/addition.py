"""Binary addition, the first task of a recurrent network: find the carry, and remember it."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..backend import BackendChoice
from ..compilation import clock
from ..display import Column, Displayed, by_index
from ..progress import is_quiet, write
from ..rnn.automata import Automaton, automaton
from ..rnn.cells import CellName
from ..rnn.config import Activation, Array
from ..rnn.fitting import fit
from ..rnn.history import History
from ..rnn.network import RNN
from ..rnn.optimizers import Adam
from ..streams import MAX_SEED, Seed, generator, read_seed
from ..terminal import terminal_width, wrapped
from ..validation import as_bool, as_int, require_memory

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRAINED, UNSEEN = 2048, 256  # pairs to train on, and to test on
LONG, LONGEST = 64, 1000  # longer pairs to choose the best network by, and their columns at most


@dataclass(frozen=True, eq=False, repr=False)
class AdditionResult(Displayed):
    """Outcome of `addition`.

    Attributes
    ----------
    history : History
        Losses of all k networks; `history.validation` is of pairs that were not trained on.
    solved : ndarray of shape (k,)
        Which networks add those pairs without an error, bool.
    best : RNN
        Of the networks that do, a copy of the one with the fewest errors on 64 longer pairs, then the least
        loss on the unseen ones.
    best_model : int
        Its number, 0..k-1.
    columns : int
        Columns of the pairs that were trained on.
    delay : int
        Steps from a column to its digit.
    test_pairs, test_columns : int
        Size of the last test of `best`.
    test_errors : int
        Wrong digits in that test.
    seconds : tuple of float
        Of the training, and of the last test.

    Examples
    --------
    >>> task = {"hidden_size": 5, "columns": 3, "delay": 0, "test_pairs": 10, "test_columns": 50}
    >>> result = fastrec.addition(4, "elman", epochs=10, progress=False, **task)
    >>> bool(result.solved[result.best_model])
    True
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
            f"{np.count_nonzero(self.solved)} of {len(self.solved)} networks add {UNSEEN} unseen pairs of "
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

    def _columns(self) -> list[Column]:
        last = {name: curve[-1] for name, curve in self.history._losses().items()}
        return by_index(("network",), solved=self.solved, **last)

    def _figure(self) -> Figure:
        return self.figure()

    def figure(self) -> Figure:
        """Draw the learning curves of all networks.

        Returns
        -------
        matplotlib.figure.Figure
            As `fastrec.plot.learning_curve_figure` makes it.
        """
        from ..plot import learning_curve_figure

        return learning_curve_figure(self.history)

    def automaton(self) -> Automaton:
        """Find the automaton that `best` computes as, from the pairs that were not trained on.

        Returns
        -------
        Automaton
            As `fastrec.automaton` finds it. A network that adds has that of `addition_automaton`, but may
            print other digits before the first one of a sum.

        Raises
        ------
        RuntimeError
            If it has more than 64 states.
        """
        seed = self.history.seed or 0  # pickles of version 0.1.0 do not hold it
        return automaton(self.best, addition_task(UNSEEN, self.columns, self.delay, seed + 1)[0])


def addition_task(
    pairs: int, columns: int, delay: int = 2, seed: Seed = 0
) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.bool_]]:
    """Make random pairs of binary numbers and the digits of their sums.

    Numbers begin with the least significant column.

    Parameters
    ----------
    pairs : int
        Number of pairs.
    columns : int
        Digits of each number.
    delay : int, default 2
        Steps from a column to its digit.
    seed : int, numpy.random.Generator or None, default 0
        As in `RNN`.

    Returns
    -------
    x : ndarray of shape (pairs, t, 2)
        float32 of 0 and 1, with t = columns + 1 + delay; the last 1 + delay steps are 0.
    targets : ndarray of shape (pairs, t)
        int32, at step t the digit of column t - delay. A sum has one digit more than there are columns.
    mask : ndarray of shape (pairs, t)
        bool, False in the first `delay` steps.

    Raises
    ------
    ValueError
        For sizes that are out of range or do not fit into memory.

    Examples
    --------
    >>> x, targets, mask = fastrec.addition_task(1, columns=3, delay=1, seed=3)
    >>> x[0].T.astype(int)
    array([[1, 1, 0, 0, 0],
           [1, 1, 0, 0, 0]])
    >>> targets[0]
    array([0, 0, 1, 1, 0], dtype=int32)
    """
    pairs, columns = as_int("pairs", pairs, 1, 2**31 - 1), as_int("columns", columns, 1, 2**31 - 1)
    delay = as_int("delay", delay, 0, 2**16)
    rng = generator(seed)
    steps = columns + 1 + delay
    require_memory(f"{pairs} pairs of {columns} columns", pairs * steps * 15)
    x = np.zeros((pairs, steps, 2), np.float32)
    x[:, :columns] = rng.integers(0, 2, (pairs, columns, 2), np.int8)
    targets, carry = np.zeros((pairs, steps), np.int32), np.zeros(pairs, np.int32)
    for step in range(columns + 1):
        total = x[:, step].sum(axis=1).astype(np.int32) + carry
        targets[:, step + delay], carry = total & 1, total >> 1
    return x, targets, np.broadcast_to(np.arange(steps) >= delay, (pairs, steps)).copy()


def addition_automaton(delay: int = 0) -> Automaton:
    """Return the finite automaton of binary addition.

    Its states know the carry and the digits that are still to be printed, of which the first are 0.

    Parameters
    ----------
    delay : int, default 0
        Steps from a column to its digit, at most 12.

    Returns
    -------
    Automaton
        Moore's, with 4 states for a delay of 0, and twice as many for each step more.

    Raises
    ------
    ValueError
        If the delay is out of range.

    Examples
    --------
    The four states: no carry or a carry, each after a 0 or a 1 has been printed.

    >>> print(fastrec.addition_automaton().table().text())
    4 states: the next one by what is read
    state  prints  00  01  10  11
        0       0   0   1   1   2
        1       1   0   1   1   2
        2       0   1   2   2   3
        3       1   1   2   2   3
    """
    delay = as_int("delay", delay, 0, 12)
    columns = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    # The carry is the lowest bit of a state, then come the digits, the latest one first.
    states = np.arange(2 ** (delay + 2))
    total = (states & 1)[:, None] + columns.sum(axis=1)
    digits = (states >> 1 << 1)[:, None] % 2 ** (delay + 1) | total & 1
    return Automaton(columns, digits << 1 | total >> 1, states >> (delay + 1)).minimal()


def count_errors(rnn: RNN, task: tuple[Array, Array, Array]) -> NDArray[np.int64]:
    """Return the number of wrong digits of each network; the greater of two outputs is the digit."""
    x, targets, mask = task
    outputs, _ = rnn.predict(x)
    wrong = ((outputs[..., 1] > outputs[..., 0]) != targets) & mask
    return np.count_nonzero(wrong, axis=(-2, -1))


def errors_of(rnn: RNN, chosen: NDArray[np.bool_], task: tuple[Array, Array, Array]) -> NDArray[np.int64]:
    """Return `count_errors` of the chosen of k networks, and the largest int64 for the others."""
    errors = np.full(len(chosen), np.iinfo(np.int64).max)
    for j in np.flatnonzero(chosen):
        errors[j] = count_errors(rnn.copy(model=int(j)), task)
    return errors


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
    seed: Seed = 0,
    backend: BackendChoice | None = None,
    progress: bool = True,
    *,
    until: int | None = 1,
    checkpoint: str | os.PathLike[str] | None = None,
) -> AdditionResult:
    """Train k networks at once to add binary numbers, and test the best on far longer ones.

    They learn from 2048 pairs, in batches of 32, and are tested on 256 others. Training ends when one of them
    adds those without an error, and 64 longer ones, of test_columns up to 1000. Elman networks of 3 hidden
    units add with a delay of 0 or 1; besides the carry they cannot remember a digit for two steps, as gated
    ones can.

    Parameters
    ----------
    models : int, default 64
        Number k of networks. Network j has the seed seed + j.
    cell, activation : str
        As in `RNN`; by default "lstm" and "tanh".
    hidden_size : int, default 3
        Hidden units.
    columns : int, default 8
        Columns of the numbers to train on.
    delay : int, default 2
        Steps from a column to the digit of its sum.
    epochs : int, default 40
        Passes over the pairs, at most.
    learning_rate : float, default 0.03
        Step size of `Adam`; the gradient norm is clipped at 1.
    test_pairs, test_columns : int, default 1000
        Size of the last test.
    seed : int, numpy.random.Generator or None, default 0
        As in `RNN`, at most 2^64 - 4; `History.seed` of the result says it.
    backend : str, optional
        As in `RNN`.
    progress : bool, default True
        As in `fit`, and say after the first epoch how long all of them take.
    until : int, optional
        End the training after the first epoch with this many networks, by default 1, that add the unseen
        pairs and the longer ones without an error; None makes all epochs.
    checkpoint : path, optional
        As in `fit`: a .npz file that keeps the training, and that a second call goes on from.

    Returns
    -------
    AdditionResult
        Learning curves, and the best network with its test.

    Raises
    ------
    ValueError
        For invalid arguments.
    RuntimeError
        If no network adds the test pairs of the training length without an error.

    Examples
    --------
    >>> task = {"hidden_size": 5, "columns": 3, "delay": 0, "test_pairs": 10, "test_columns": 50}
    >>> result = fastrec.addition(4, "elman", epochs=10, progress=False, **task)
    >>> result.solved.shape, result.best
    ((4,), RNN(2, 5, 2, ...))
    """
    seed = read_seed(seed, most=MAX_SEED - 3)
    test_pairs = as_int("test_pairs", test_pairs, 1, 2**31 - 1)
    test_columns = as_int("test_columns", test_columns, 1, 2**31 - 1)
    progress = as_bool("progress", progress)
    rnn = RNN(
        2, hidden_size, 2, cell, activation, models=models, initial="uniform", seed=seed, backend=backend
    )
    wanted = None if until is None else as_int("until", until, 1, models)
    sizes = (TRAINED, columns), (UNSEEN, columns), (LONG, min(test_columns, LONGEST))
    training, validation, longer = (addition_task(*size, delay, seed + i) for i, size in enumerate(sizes))
    digits = test_pairs * (test_columns + 1 + delay)
    for where in {"cpu", rnn.backend}:
        require_memory("the last test", digits * (24 + 4 * rnn.hidden_size), backend=where)
    begin = clock()

    def is_enough(epoch: int, history: History) -> bool:
        if epoch == 0 and progress and not is_quiet():
            line = plan(models, epochs, wanted, float(history.seconds[0]), checkpoint)
            write(wrapped(line, terminal_width(sys.stderr)))
        solved = count_errors(rnn, validation) == 0
        if wanted is None or np.count_nonzero(solved) < wanted:
            return False
        return bool(np.count_nonzero(errors_of(rnn, solved, longer) == 0) >= wanted)

    history = fit(
        rnn,
        *training[:2],
        (*validation[:2], None, validation[2]),
        optimizer=Adam(learning_rate, clip=1.0),
        epochs=epochs,
        mask=training[2],
        seed=seed,
        progress=progress,
        callback=is_enough,
        checkpoint=checkpoint,
    )
    training_seconds = clock() - begin
    solved = count_errors(rnn, validation) == 0
    if not solved.any():
        least = np.nanmin(history.validation[-1])  # type: ignore[index]
        raise RuntimeError(
            f"none of the {models} networks learnt to add; the least loss is {least:.3g}, "
            "give more networks, epochs or hidden units, or a shorter delay"
        )
    begin = clock()
    number = int(np.lexsort((history.validation[-1], errors_of(rnn, solved, longer)))[0])  # type: ignore[index]
    best = rnn.copy(model=number)
    errors = count_errors(best, addition_task(test_pairs, test_columns, delay, seed + 3))
    seconds = training_seconds, clock() - begin
    return AdditionResult(
        history, solved, best, number, columns, delay, test_pairs, test_columns, int(errors), seconds
    )


def plan(
    models: int,
    epochs: int,
    until: int | None,
    seconds: float,
    checkpoint: str | os.PathLike[str] | None = None,
) -> str:
    """Return a line that says what will be done, and for how long, from the seconds of an epoch."""
    sooner = "" if until is None else f", less if {until} of them add{'s' * (until == 1)} without an error"
    return (
        f"fastrec: training {models} network{'s' * (models > 1)} to add, at most {epochs} epochs in about "
        f"{epochs * seconds:.0f} s{sooner}{'' if checkpoint is None else f', kept in {checkpoint}'}\n"
    )
