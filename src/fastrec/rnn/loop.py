"""The training loop: updates with a test for divergence, evaluations, checkpoints, progress."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..backend import backend_of, move
from ..compilation import clock
from ..display import Displayed
from ..kernels.interruption import heard, uninterrupted
from ..progress import progress_bar
from ..streams import generator
from .checkpoint import Checkpoint, TrainingState
from .config import Array
from .constraints import UNCONSTRAINED, Constraints
from .device import ComputeDevice
from .history import History, TrainingLog
from .optimizers import Optimizer
from .schedules import Schedule, read_factor

Callback = Callable[[int, History], object]
Keep = Literal["last", "best"]

FACTOR, SLACK = 1e3, 10.0  # a loss that is above FACTOR times that of epoch 0 plus SLACK has diverged


@dataclass(frozen=True, eq=False, repr=False)
class TrainingUpdate(Displayed):
    """What `on_update` of `fastrec.fit` is told of an update that has been made.

    Attributes
    ----------
    number : int
        Of the update, from 0: how many the optimiser had made before.
    epoch : int
        From 0.
    loss : float or ndarray of shape (k,)
        Of the batch, or of a window of it, before the update.
    gradient_norm : float or ndarray of shape (k,)
        Before clipping.
    learning_rate : ndarray of shape () or (k,)
        With the factor of the schedule, float64.
    parameters : dict of str to ndarray
        `RNN.parameters`, after the update; their values may be changed in place.
    optimizer : SGD, RMSprop, Adam, AdamW or HessianFree
        Whose `learning_rate` may be set.

    Examples
    --------
    >>> losses = []
    >>> def note(update):
    ...     losses.append(update.loss)
    >>> tokens = np.arange(400).reshape(20, 20) % 3
    >>> rnn = fastrec.RNN(3, 8, 3, seed=1)
    >>> history = fastrec.fit(rnn, tokens[:, :-1], tokens[:, 1:], epochs=2, batch_size=10, on_update=note)
    >>> len(losses)
    4
    """

    number: int
    epoch: int
    loss: float | Any
    gradient_norm: float | Any
    learning_rate: NDArray[np.float64]
    parameters: dict[str, Array]
    optimizer: Optimizer

    def _summary(self) -> dict[str, Any]:
        names = ("number", "epoch", "loss", "gradient_norm", "learning_rate")
        return {name: getattr(self, name) for name in names}


class Step(NamedTuple):
    """Losses and their gradients: what an update is made from."""

    batch: int
    losses: Array  # (k,) float64, where the learner computes
    gradients: Mapping[str, Array]
    weight: float  # of the losses in the mean over the epoch
    objective: Any = None  # the loss as a function of the parameters, for optimisers that search


class EpochMeans:
    """Means over the updates of an epoch, as far as it has come."""

    def __init__(self, k: int) -> None:
        self.total: Array = np.zeros(k)
        self.weight: float = 0.0
        self.norms: list[Array] = []

    def add(self, losses: Array, norms: Array, weight: float) -> None:
        """Count an update, with its losses and gradient norms (k,)."""
        self.total += losses * weight
        self.weight += weight
        self.norms.append(norms)

    @property
    def losses(self) -> Array:
        """Mean losses (k,)."""
        return self.total / self.weight


@dataclass
class Learner:
    """What `train` trains: a model, how batches are drawn, and how they give losses and gradients.

    An epoch is what lies between two evaluations.  device: where losses and gradients are computed.
    model: an `RNN` or `EncoderDecoder`, whose `parameters` are updated.  models: k, if all parameters have a
    leading axis of k independent networks.  validation: checked data to take the loss of after each epoch, or
    None.  keys: of the parameters that are trained, None for all.  masks: as `Update.trained`.  patience:
    epochs without a new best one after which training ends, None for any number.  stopped: whether a function
    of the user has ended it.
    """

    device: ComputeDevice
    model: Any
    models: int | None
    loss: str
    optimizer: Optimizer
    validation: Any
    keys: tuple[str, ...] | None = field(default=None, kw_only=True)
    masks: Mapping[str, Array] = field(default_factory=dict, kw_only=True)
    patience: int | None = field(default=None, kw_only=True)
    on_update: Callable[[TrainingUpdate], object] | None = field(default=None, kw_only=True)
    stopped: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        self.optimizer._require_known(self.model.parameters)
        self.log: TrainingLog = TrainingLog(self.models, self.loss, self.validation is not None)

    def work(self) -> tuple[float, float]:
        """Return the length of the progress bar, and how much of it was done before."""
        raise NotImplementedError

    def is_finished(self) -> bool:
        """Return whether the training is over."""
        return self.stopped or (self.patience is not None and self.log.epochs_since_best() >= self.patience)

    def steps(self, means: EpochMeans, advance: Callable[[float, str], None]) -> Iterator[Step]:
        """Yield the steps of the next epoch, each computed after the update that the one before led to.

        means: of the epoch so far. advance: moves the progress bar.
        """
        raise NotImplementedError

    def mean_norm(self, norms: list[Array]) -> Array:
        """Return the mean (k,) of the gradient norms of an epoch."""
        return sum(norms, np.zeros(1)) / len(norms)

    def validate(self) -> Array:
        """Return the validation losses (k,)."""
        raise NotImplementedError

    def trained(self) -> tuple[Mapping[str, Array], Mapping[str, Array]]:
        """Return the parameters that updates change, and which numbers of some: see `Update.trained`."""
        parameters = self.model.parameters
        if self.keys is not None:
            parameters = {key: parameters[key] for key in self.keys}
        return parameters, self.masks

    def factor(self) -> float:
        """Return the factor of the learning rate in the next update."""
        return 1.0

    def constrain(self) -> None:
        """Set parameters to the nearest allowed values, as a part of an update."""

    def after_update(self, losses: Array, norms: Array, factor: float) -> None:
        """Called when an update is made, with losses and gradient norms (k,) on the host, and `factor`."""
        if self.on_update is None:
            return
        number, rate = self.optimizer._step - 1, factor * self.optimizer.learning_rate
        loss, norm = (losses, norms) if self.models else (float(losses[0]), float(norms[0]))
        of_model = (self.model.parameters, self.optimizer)
        update = TrainingUpdate(number, self.log.epochs, loss, norm, rate, *of_model)
        self.stopped |= is_true(self.on_update(update))
        self.model._check()
        self.constrain()

    def finish(self) -> None:
        """Called when the training ends, also by an exception."""

    def begin_epoch(self) -> None:
        """Called before the first step of an epoch."""

    def restore(self, networks: NDArray[np.bool_]) -> str:
        """Give networks (k,), which have diverged, good parameters again; return in words which they are."""
        raise NotImplementedError

    def end_epoch(self) -> None:
        """Called when an epoch is in the log, before its checkpoint is written."""

    def after_checkpoint(self) -> None:
        """Called when an epoch is over and its checkpoint, if there is one, is written."""

    def extra_arrays(self) -> dict[str, Array]:
        """Return what checkpoints hold besides parameters, optimiser and log, by name and not copied."""
        return {}

    def fits(self, stored: Mapping[str, Array]) -> bool:
        """Return whether the arrays of a checkpoint may be those of this training."""
        return True

    def state(self) -> TrainingState:
        """Return all that the epochs to come depend on."""
        arrays = (self.model.parameters, self.trained()[0])
        return TrainingState(*arrays, self.models, self.optimizer, self.log, self.extra_arrays(), self.fits)


@dataclass
class BatchLearner(Learner):
    """A learner whose epochs are passes through n examples, in batches of a new order each if shuffled.

    data: `Sequences` or `Pairs`, as validation is.  learn: yields losses (k,), gradients and the number of
    steps that count, perhaps more, of each update that a batch is for.  summed_loss: the losses (k,) of a
    batch.  Both take batches as `data.rows` selects them.  keep: which parameters are those in the end.
    constraints: of the parameters.  objective: makes the `Step.objective` of a batch.
    """

    data: Any
    learn: Callable[[Any], Iterable[tuple[Any, ...]]]
    summed_loss: Callable[[Any], Array]
    epochs: int
    batch_size: int
    seed: int
    callback: Callback | None
    shuffle: bool = True
    keep: Keep = "last"
    schedule: Schedule | None = None
    constraints: Constraints = UNCONSTRAINED
    objective: Callable[[Any], Any] = lambda batch: None

    def __post_init__(self) -> None:
        super().__post_init__()
        # Good parameters: those after the best epoch if they are kept, else those at the beginning of the
        # epoch with the least training loss, for which `first` has those at the beginning of this one.
        self.best: dict[str, Array] = {key: array.copy() for key, array in self.model.parameters.items()}
        self.first: dict[str, Array] = (
            {} if self.keep == "best" else {key: array.copy() for key, array in self.best.items()}
        )

    def factor(self) -> float:
        return 1.0 if self.schedule is None else read_factor(self.schedule, self.optimizer._step)

    def constrain(self) -> None:
        self.constraints.apply(self.model.parameters)

    def finish(self) -> None:
        if self.keep == "best":
            self.restore(np.ones(self.models or 1, np.bool_))

    def extra_arrays(self) -> dict[str, Array]:
        return {f"best.{key}": array for key, array in self.best.items()} | self.constraints.arrays

    def begin_epoch(self) -> None:
        self.assign(self.first, self.model.parameters, np.ones(self.models or 1, np.bool_))

    def restore(self, networks: NDArray[np.bool_]) -> str:
        with uninterrupted():
            self.assign(self.model.parameters, self.best, networks)
        side = "after" if self.keep == "best" else "before"
        if self.models:
            return f"those {side} the best epoch of each network"
        if self.keep == "best":
            best = self.history().best_epoch
            return "those before the training" if best < 0 else f"those after epoch {best}"
        curve = self.log.curves["train"][:, 0]
        best = int(curve.argmin()) if len(curve) else 0
        return f"those before epoch {best}" if best else "those before the training"

    def assign(
        self, to: Mapping[str, Array], values: Mapping[str, Array], networks: NDArray[np.bool_]
    ) -> None:
        """Copy the parameters of some of the networks (k,)."""
        if not networks.any():
            return
        for key, array in to.items():
            rows: Any = ... if networks.all() else move(networks, backend_of(array))
            array[rows] = move(values[key], backend_of(array))[rows]

    def work(self) -> tuple[float, float]:
        return len(self.data.counted) * (self.epochs - self.log.epochs), 0

    def is_finished(self) -> bool:
        return self.log.epochs >= self.epochs or super().is_finished()

    def steps(self, means: EpochMeans, advance: Callable[[float, str], None]) -> Iterator[Step]:
        epoch = self.log.epochs
        draw = generator(self.seed, epoch)
        for number, rows in enumerate(self.batches(draw)):
            batch = self.data.rows(rows)
            for losses, gradients, count, *_ in self.learn(batch):
                if count:
                    yield Step(number, losses, gradients, count, self.objective(batch))
            advance(len(rows), f"epoch {epoch}, loss {np.nanmean(means.losses):.4g}")

    def batches(self, draw: np.random.Generator) -> Iterator[NDArray[np.int64]]:
        """Yield the rows of each batch of an epoch."""
        n = len(self.data.counted)
        return self.split(draw.permutation(n) if self.shuffle else np.arange(n))

    def validate(self) -> Array:
        counted, total = self.validation.counted, self.device.xp.zeros(self.models or 1)
        for rows in self.split(np.arange(len(counted))):
            if counted[rows].any():
                total += self.summed_loss(self.validation.rows(rows))
        return move(total, "cpu") / counted.sum()

    def split(self, rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """Divide rows into batches, of which the last may be smaller."""
        return (rows[first : first + self.batch_size] for first in range(0, len(rows), self.batch_size))

    def end_epoch(self) -> None:
        kept, curves = self.keep == "best", self.log.curves
        curve = curves.get("validation", curves["train"]) if kept else curves["train"]
        better = curve[-1] < np.fmin.reduce(curve[:-1], axis=0, initial=np.inf)
        with uninterrupted():
            self.assign(self.best, self.model.parameters if kept else self.first, better)
        if self.callback is not None:
            self.stopped |= is_true(self.callback(self.log.epochs - 1, self.history()))

    def history(self) -> History:
        """Return the curves so far."""
        return replace(self.log.history(), seed=self.seed)


def is_true(returned: object) -> bool:
    """Whether a user's function has returned True: it may return anything else."""
    return isinstance(returned, (bool, np.bool_)) and bool(returned)


def train(learner: Learner, checkpoint: Checkpoint | None, progress: bool) -> None:
    """Train until the learner is finished.

    Raises FloatingPointError when the last of the networks has diverged, with the parameters that the learner
    restores.
    """
    log, (total, done) = learner.log, learner.work()
    with uninterrupted() as block, progress_bar("training", total, progress, done) as advance, heard(block):
        try:
            while not learner.is_finished():
                learner.begin_epoch()
                begin, means = clock(), EpochMeans(learner.models or 1)
                # Overflow is looked for where it matters; NumPy's warnings would come from "reference" only.
                with uninterrupted() as epoch, np.errstate(over="ignore", invalid="ignore"), heard(epoch):
                    try:
                        for step in learner.steps(means, advance):
                            means.add(*update(learner, step), step.weight)
                    except FloatingPointError as error:
                        kept = learner.restore(log.active)
                        raise FloatingPointError(f"{error}; the parameters are {kept}") from None
                    curves = {"train": means.losses, "gradient_norm": learner.mean_norm(means.norms)}
                    if learner.validation is not None:
                        curves["validation"] = learner.validate()
                log.append(curves, clock() - begin)
                learner.end_epoch()
                if checkpoint is not None and (log.epochs % checkpoint.every == 0 or learner.is_finished()):
                    checkpoint.write(learner.state())
                learner.after_checkpoint()
        finally:
            learner.finish()


def update(learner: Learner, step: Step) -> tuple[Array, Array]:
    """Update the networks that have not diverged; return losses and gradient norms (k,) as NumPy arrays.

    A network diverges when its loss or gradient norm is not finite, or its loss is far above those of epoch
    0. It gets good parameters again, which later steps do not change.
    """
    log, epoch = learner.log, learner.log.epochs
    (parameters, masks), factor = learner.trained(), learner.factor()
    prepared = learner.optimizer._prepare(parameters, step.gradients, learner.models, learner.device, masks)
    losses, norms = learner.device.read(step.losses, prepared.norms)
    good = np.isfinite(losses) & np.isfinite(norms)
    if epoch:
        good &= losses <= FACTOR * log.highest + SLACK
    failed, active = log.active & ~good, log.active & good
    if active.any():
        prepared = learner.optimizer._plan(prepared, active, factor, step.objective)
    with uninterrupted():
        if failed.any():
            log.diverged[failed] = epoch
            learner.restore(failed)
            if not active.any():
                j = int(failed.argmax())
                which = f" (network {j}, the last of {learner.models})" if learner.models else ""
                raise FloatingPointError(
                    f"training diverged in epoch {epoch}, batch {step.batch}: the loss is {losses[j]:.4g}, "
                    f"the gradient norm {norms[j]:.4g}{which}; use a smaller learning_rate or clip"
                )
        learner.optimizer._apply(prepared, active, factor)
        learner.constrain()
    if epoch == 0:
        np.maximum(log.highest, losses, out=log.highest, where=log.active)
    learner.after_update(losses, norms, factor)
    return losses, norms
