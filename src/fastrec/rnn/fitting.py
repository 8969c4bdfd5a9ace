"""Training of a network, or of k at once, on sequences."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike

from ..backend import move
from ..files import require_suffix, require_writable
from ..streams import derive
from ..validation import as_int
from .batches import BatchLearner, check_optimizer, read_options
from .checkpoint import Checkpoint, describe, shorten
from .config import MAX_SIZE, Array, Config
from .dataset import Sequences, read_sequences
from .device import Place
from .history import History
from .loop import EpochMeans, Step, train
from .network import RNN
from .optimizers import Adam, Optimizer
from .truncation import evaluate, read_truncation, windows
from .validation import Dropout, Loss, read_dropout


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
    options = read_options(epochs, batch_size, seed, patience, callback)
    every = as_int("checkpoint_every", checkpoint_every, 1, MAX_SIZE)
    if k1 is None and k2 is not None:
        raise ValueError(f"k2 is {k2!r} without k1; give both, or k1 alone")
    truncation = (MAX_SIZE, MAX_SIZE) if k1 is None else read_truncation(k1, k2)
    optimizer = check_optimizer(Adam() if optimizer is None else optimizer)
    optimizer._slots(rnn.parameters, c.models, at.backend)
    if checkpoint is not None:
        require_suffix(checkpoint, ".npz")
        require_writable(checkpoint)
    read_dropout(c, dropout, seed)
    data = read_sequences(c, at, x, targets, loss, lengths, mask)
    if not (counting := data.counted.any(axis=1)).all():
        data = data.rows(np.flatnonzero(counting))
    held = None if validation is None else read_validation(c, at, validation, loss)
    shared = (at, c.models, loss, optimizer, held, len(data.counted))
    left_out = update_dropout(c, dropout, options["seed"], optimizer)
    learner = SequenceLearner(
        *shared, **options, rnn=rnn, data=data, truncation=truncation, shuffle=bool(shuffle), dropout=left_out
    )
    file = None
    if checkpoint is not None:
        settings = (
            {key: value for key, value in asdict(c).items() if key != "embedding_size" or value}
            | {
                "loss": loss,
                "optimizer": optimizer._text(optimizer._first_rate),
                "batch_size": options["batch_size"],
                "k1, k2": None if k1 is None else truncation,
                "shuffle": bool(shuffle),
                "seed": options["seed"],
                "data": describe(data),
                "validation": describe(held),
            }
            | ({"dropout": dropout} if dropout else {})
        )
        file = Checkpoint(checkpoint, shorten(settings), every, options["epochs"])
        file.resume(learner.state())
    train(learner, file, progress)
    return learner.log.history()


def read_validation(c: Config, at: Place, validation: Sequence[ArrayLike | None], loss: Loss) -> Sequences:
    """The argument `validation` of `fit`, checked."""
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


def update_dropout(
    c: Config, dropout: float, seed: int, optimizer: Optimizer
) -> Callable[[], Dropout | None]:
    """A function that says which units the next update of an optimiser leaves out."""
    if not dropout:
        return lambda: None
    return lambda: read_dropout(c, dropout, derive(seed, optimizer._step))


@dataclass
class SequenceLearner(BatchLearner):
    """The learner of `fit`: sequences, in windows if they are truncated."""

    rnn: RNN
    data: Sequences
    truncation: tuple[int, int]
    shuffle: bool
    dropout: Callable[[], Dropout | None]

    @property
    def parameters(self) -> dict[str, Array]:
        return self.rnn.parameters

    def steps(self, means: EpochMeans, advance: Callable[[float, str], None]) -> Iterator[Step]:
        rnn, at, epoch = self.rnn, self.place, self.log.epochs
        for batch, rows in self.batches(self.shuffle):
            part = self.data.rows(rows)
            for losses, gradients, _, count in windows(
                rnn, at, part, *self.truncation, self.loss, "mean", None, self.dropout
            ):
                if count:
                    yield Step(batch, losses, gradients, count)
            advance(len(rows), f"epoch {epoch}, loss {np.nanmean(means.losses):.4g}")

    def validate(self) -> Array:
        counted, total = self.held.counted, self.place.xp.zeros(self.rnn._config.k)
        for rows in self.split(np.arange(len(counted))):
            if counted[rows].any():
                total += evaluate(self.rnn, self.place, self.held.rows(rows), self.loss)[0]
        return move(total, "cpu") / np.count_nonzero(counted)
