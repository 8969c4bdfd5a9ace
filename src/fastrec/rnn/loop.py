"""Training: truncated backpropagation through time, and batches, epochs, checkpoints around it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..backend import move
from ..compilation import clock
from ..files import require_suffix, require_writable
from ..progress import progress_bar
from ..streams import MAX_SEED, derive
from ..validation import as_int
from . import checkpoint as checkpoints
from .config import MAX_SIZE, Array, Config
from .dataset import Sequences, read_sequences
from .device import Place
from .history import History, Log
from .network import RNN, Trace, give_all_back, give_back
from .optimizers import Adam, Optimizer
from .validation import Dropout, Loss, Reduction, check_reduction, read_dropout, read_state

FACTOR, SLACK = 1e3, 10.0  # a loss that is above FACTOR times that of epoch 0 plus SLACK has diverged


def truncated_bptt(
    rnn: RNN,
    x: ArrayLike,
    targets: ArrayLike,
    k1: int,
    k2: int | None = None,
    loss: Loss = "cross_entropy",
    reduction: Reduction = "mean",
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    state: ArrayLike | None = None,
) -> Iterator[tuple[Any, dict[str, Array], Array]]:
    """Every k1 steps, backpropagate through the last k2 (Williams & Peng, Neural Computation 2, 490, 1990).

    rnn, x, targets, loss, lengths, mask, state: as in `RNN.loss_and_gradients`.
    k1, k2: at least 1, k2 at least k1; None is k1, where windows do not overlap: no step is computed twice.
    reduction: "mean" over the steps of the window whose loss counts, or their "sum".

    Yields what `RNN.loss_and_gradients` returns, for the windows [max(0, e - k2), e) with e = k1, 2 k1, ...,
    t: the loss of the steps after the last e, so that each counts once; its gradient, cut at the begin of the
    window, whose first state is taken as given; the state after step e.  Where no step of a window counts,
    loss and gradients are 0.  With k2 >= t and "sum" the gradients add up to that of the whole.

    The network may be changed between windows: each is computed with the parameters it then has, from the
    state that the one before reached at its begin.  If that state is not finite, the loss of the network is
    nan from then on.  All windows run on the backend of the call; the values of CuPy arrays are checked
    there once.  Raises ValueError as `RNN.loss_and_gradients`, before the first window.
    """
    k1, k2 = read_truncation(k1, k2)
    c, at = rnn._config, rnn._place(x, targets, lengths, mask, state)
    rnn._weights(at.backend)
    check_reduction(reduction)
    data = read_sequences(c, at, x, targets, loss, lengths, mask)
    start = None if state is None else read_state(c, "state", state, len(data.counted), at)
    return (
        (
            rnn._public_loss(losses),
            give_all_back(trace._batch, gradients),
            give_back(trace._batch, trace.state),
        )
        for losses, gradients, trace, _ in windows(rnn, at, data, k1, k2, loss, reduction, start)
    )


def fit(
    rnn: RNN,
    x: ArrayLike,
    targets: ArrayLike,
    validation: Sequence[ArrayLike | None] | None = None,
    loss: Loss = "cross_entropy",
    optimizer: Optimizer | None = None,
    epochs: int = 10,
    batch_size: int = 32,
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    k1: int | None = None,
    k2: int | None = None,
    shuffle: bool = True,
    seed: int = 0,
    dropout: float = 0.0,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int = 1,
    patience: int | None = None,
    progress: bool = True,
    callback: Callable[[int, History], object] | None = None,
) -> History:
    """Train a network in place on n sequences, or k networks at once on the same batches.

    x (n, t, i) or tokens (n, t), targets, loss, lengths (n,), mask (n, t): as in `RNN.loss_and_gradients`;
        for k networks x and targets may have a leading axis k.  On the gpu, CuPy x and targets are checked
        once, at the call, and stay where they are; NumPy arrays are sent batch by batch.
    validation: (x, targets), (x, targets, lengths) or (x, targets, lengths, mask) to take the loss of after
        each epoch.
    optimizer: an `SGD` or `Adam`, which goes on from where it is; None is a new `Adam`.  With learning rates
        (k,) the networks are a sweep over them.
    batch_size: sequences a batch; each makes one update, with the gradient of the mean over its steps that
        count.  Sequences in which no step counts are left out.
    k1, k2: truncate as `truncated_bptt` does, with an update for each window in which a step counts; None is
        the whole sequence.
    shuffle: draw a new order of the sequences every epoch, from seed (0..2^64-1) and the number of the epoch.
    dropout: as in `RNN.loss_and_gradients`, other units in each update: they follow from seed and the number
        of updates the optimizer has made.
    checkpoint: a .npz file, replaced in one step every `checkpoint_every` epochs and at the end.  If it is
        there, training goes on from it, and ends with the same bits as without the interruption (on the same
        backend and in the same precision); the first parameters of the network then do not matter.  `epochs`
        may have grown.
    patience: stop after so many epochs without a new best of `History.best_epoch`, of any network.  The
        parameters are those of the last epoch.
    progress: show a bar with the time left, in a terminal or a notebook.
    callback: called after each epoch, before its checkpoint, with the number of the epoch, from 0, and the
        `History` so far; it may set `optimizer.learning_rate`, which checkpoints keep.

    A network has diverged when the loss or the gradient norm of a batch is not finite, or the loss is above
    1000 times the largest of a batch in epoch 0, plus 10; the update is not made.  This raises
    FloatingPointError, which leaves the parameters as the last good update made them; of k networks those
    that diverge are left so (`History.diverged`) while others go on, and it is raised when all have.

    Raises ValueError before any work for arguments that cannot be, and for a checkpoint that is damaged or
    that of another training, which it names; OSError if the checkpoint cannot be written.
    """
    held_out = validation if isinstance(validation, Sequence) else ()
    c, at = rnn._config, rnn._place(x, targets, lengths, mask, *held_out)
    rnn._weights(at.backend)
    epochs = as_int("epochs", epochs, 1, MAX_SIZE)
    batch_size = as_int("batch_size", batch_size, 1, MAX_SIZE)
    seed = as_int("seed", seed, 0, MAX_SEED)
    every = as_int("checkpoint_every", checkpoint_every, 1, MAX_SIZE)
    if patience is not None:
        patience = as_int("patience", patience, 1, MAX_SIZE)
    if k1 is None and k2 is not None:
        raise ValueError(f"k2 is {k2!r} without k1; give both, or k1 alone")
    truncation = (MAX_SIZE, MAX_SIZE) if k1 is None else read_truncation(k1, k2)
    optimizer = Adam() if optimizer is None else optimizer
    if not isinstance(optimizer, Optimizer):
        raise ValueError(f"optimizer is {optimizer!r}; it must be an SGD or an Adam")
    optimizer._beside(rnn.parameters, c.models, at.backend)
    if callback is not None and not callable(callback):
        raise ValueError(f"callback is {callback!r}; it must be a function of an epoch and a History")
    if checkpoint is not None:
        require_suffix(checkpoint, ".npz")
        require_writable(checkpoint)
    read_dropout(c, dropout, seed)
    data = read_sequences(c, at, x, targets, loss, lengths, mask)
    if not (counting := data.counted.any(axis=1)).all():
        data = data.rows(np.flatnonzero(counting))
    held = None if validation is None else read_validation(c, at, validation, loss)
    run = Run(rnn, at, loss, optimizer, Log(c, loss, held is not None), dropout, seed)
    n, log = len(data.counted), run.log
    if checkpoint is not None:
        settings = checkpoints.shortened(
            {key: value for key, value in asdict(c).items() if key != "embedding_size" or value}
            | {
                "loss": loss,
                "optimizer": optimizer._text(optimizer._first_rate),
                "batch_size": batch_size,
                "k1, k2": None if k1 is None else truncation,
                "shuffle": bool(shuffle),
                "seed": seed,
                "data": checkpoints.describe(data),
                "validation": checkpoints.describe(held),
            }
            | ({"dropout": dropout} if dropout else {})
        )
        if Path(checkpoint).exists():
            checkpoints.read(checkpoint, settings, epochs, rnn, optimizer, log)
        else:  # so that a start after an interrupted first epoch finds the first parameters
            checkpoints.write(checkpoint, settings, rnn, optimizer, log)

    def finished() -> bool:
        return log.epochs >= epochs or (patience is not None and log.waited() >= patience)

    with progress_bar("training", n * (epochs - log.epochs), progress) as advance:
        while not finished():
            epoch = log.epochs
            draw = np.random.Generator(np.random.Philox(key=np.array([seed, epoch], np.uint64)))
            order = draw.permutation(n) if shuffle else np.arange(n)
            # Overflow is looked for where it matters; NumPy's warnings would come from "reference" only.
            with np.errstate(over="ignore", invalid="ignore"):
                run.epoch(epoch, data, order, batch_size, truncation, held, advance)
            if callback is not None:
                callback(epoch, log.history())
            if checkpoint is not None and (log.epochs % every == 0 or finished()):
                checkpoints.write(checkpoint, settings, rnn, optimizer, log)
    return log.history()


def read_validation(c: Config, at: Place, validation: Sequence[ArrayLike | None], loss: Loss) -> Sequences:
    if not np.iterable(validation):
        raise ValueError(f"validation is {validation!r}; give a tuple of x, targets, perhaps lengths, mask")
    parts = tuple(validation)
    if not 2 <= len(parts) <= 4:
        raise ValueError(f"validation has {len(parts)} parts; give x, targets, and perhaps lengths, mask")
    x, targets, lengths, mask = (*parts, None, None)[:4]
    try:
        return read_sequences(c, at, x, targets, loss, lengths, mask)  # type: ignore[arg-type]
    except ValueError as error:
        raise ValueError(f"validation: {error}") from None


@dataclass
class Run:
    """A training: what its updates need to know."""

    rnn: RNN
    at: Place
    loss: Loss
    optimizer: Optimizer
    log: Log
    dropout: float
    seed: int

    def epoch(
        self,
        epoch: int,
        data: Sequences,
        order: Array,
        batch_size: int,
        truncation: tuple[int, int],
        held: Sequences | None,
        advance: Callable[[float, str], None],
    ) -> None:
        """Train on all batches of an order of the sequences, take the validation loss, and log both."""
        start, k = clock(), self.rnn._config.k
        losses, norms, steps, updates = np.zeros(k), np.zeros(k), 0, 0
        for batch, first in enumerate(range(0, len(order), batch_size)):
            rows = order[first : first + batch_size]
            for found, norm, count, _ in self.learn(epoch, batch, data.rows(rows), truncation, None):
                norms += norm
                losses += found * count
                steps, updates = steps + count, updates + 1
            advance(len(rows), f"epoch {epoch}, loss {np.nanmean(losses / steps):.4g}")
        curves = {"train": losses / steps, "gradient_norm": norms / updates}
        if held is not None:
            curves["validation"] = self.validate(held, batch_size)
        self.log.append(curves, clock() - start)

    def learn(
        self, epoch: int, batch: int, part: Sequences, truncation: tuple[int, int], start: Array | None
    ) -> Iterator[tuple[Array, Array, int, Array]]:
        """Update for each window of a batch: its losses and gradient norms (k,), how many steps counted, the
        last state."""
        cut = windows(self.rnn, self.at, part, *truncation, self.loss, "mean", start, self.left_out)
        for value, gradients, trace, count in cut:
            if count:
                yield *self.update(epoch, batch, value, gradients), count, trace.state

    def left_out(self) -> Dropout | None:
        """The units that the next update leaves out."""
        if not self.dropout:
            return None
        return read_dropout(self.rnn._config, self.dropout, derive(self.seed, self.optimizer._step))

    def update(
        self, epoch: int, batch: int, value: Array, gradients: dict[str, Array]
    ) -> tuple[Array, Array]:
        """Change the networks that have not diverged, along gradients of losses (k,), both where computed.

        Returns the losses and the norms (k,) of the gradients as NumPy arrays: what is waited for.
        """
        c, log = self.rnn._config, self.log
        update = self.optimizer._prepare(self.rnn.parameters, gradients, c.models, self.at)
        losses, norms = self.at.read(value, update.norms)
        good = np.isfinite(losses) & np.isfinite(norms)
        if epoch:
            good &= losses <= FACTOR * log.highest + SLACK
        if (failed := log.moving & ~good).any():
            log.diverged[failed] = epoch
            if not log.moving.any():
                j = int(failed.argmax())
                which = f" (network {j}, the last of {c.k})" if c.models else ""
                raise FloatingPointError(
                    f"training diverged in epoch {epoch}, batch {batch}: the loss is {losses[j]:.4g}, the "
                    f"gradient norm {norms[j]:.4g}{which}; the parameters are left as before, "
                    "use a smaller learning_rate or clip"
                )
        self.optimizer._apply(update, log.moving)
        if epoch == 0:
            np.maximum(log.highest, losses, out=log.highest, where=log.moving)
        return losses, norms

    def validate(self, held: Sequences, batch_size: int) -> Array:
        """The mean losses (k,) over sequences, taken batch by batch."""
        c, total = self.rnn._config, self.at.xp.zeros(self.rnn._config.k)
        for first in range(0, len(held.counted), batch_size):
            part = held.rows(np.arange(first, min(first + batch_size, len(held.counted))))
            if part.counted.any():
                weights = self.rnn._weights(self.at.backend)
                batch = part.batch(c, self.at, weights, None, gradients=False, keep=False, dropout=None)
                count = int(np.count_nonzero(part.counted))
                goal = part.loss_spec(c, self.at, part.counted, count, self.loss, "sum")
                total += self.rnn._evaluate(batch, goal)[0]
        return move(total, "cpu") / np.count_nonzero(held.counted)


def read_truncation(k1: int, k2: int | None) -> tuple[int, int]:
    k1 = as_int("k1", k1, 1, MAX_SIZE)
    return k1, k1 if k2 is None else as_int("k2", k2, k1, MAX_SIZE)


def windows(
    rnn: RNN,
    at: Place,
    data: Sequences,
    k1: int,
    k2: int,
    loss: Loss,
    reduction: Reduction,
    start: Array | None,
    left_out: Callable[[], Dropout | None] = lambda: None,
) -> Iterator[tuple[Array, dict[str, Array], Trace, int]]:
    """The windows of `truncated_bptt`: losses (k,), gradients, trace, and how many steps count in each.

    All is where it was computed, and nobody has waited for it.
    """
    c, xp, steps = rnn._config, at.xp, data.counted.shape[1]
    begin, lost = 0, None  # lost (k,): the networks whose state was not finite
    for done in range(0, steps, k1):
        end = min(done + k1, steps)
        part = data.stretch(begin, end)
        mask = part.counted.copy()
        mask[:, : done - begin] = False
        count = int(np.count_nonzero(mask))
        weights = rnn._weights(at.backend)
        batch = part.batch(c, at, weights, start, gradients=count > 0, keep=True, dropout=left_out())
        if count:
            goal = part.loss_spec(c, at, mask, count, loss, reduction)
            value, gradients, trace = rnn._learn(batch, goal, want_x=False)
        else:
            trace, value = rnn._forward(batch), xp.zeros(c.k)
            gradients = {key: xp.zeros_like(array) for key, array in rnn.parameters.items()}
            gradients["state"] = xp.zeros_like(trace.state)
        if lost is not None:
            value = xp.where(lost, np.nan, value)
        # Where the next window begins; with k1 = k2 where this one ends, also before a shorter last one.
        after = end if k1 == k2 else max(0, min(end + k1, steps) - k2)
        if after > begin:
            reached = trace._state_at(after - begin)
            bad = ~xp.isfinite(reached).all(axis=(0, 2, 3))
            lost = bad if lost is None else lost | bad
            start = xp.where(lost[:, None, None], 0, reached)
            begin = after
        yield value, gradients, trace, count
