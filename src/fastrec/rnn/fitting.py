"""Training of a network, or of k at once, on sequences."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar, get_args

import numpy as np
from numpy.typing import ArrayLike

from ..backend import move
from ..files import require_suffix, require_writable
from ..messages import shown
from ..streams import Seed, derive, read_seed
from ..validation import as_bool, as_choice, as_int, as_path, one_of
from .checkpoint import Checkpoint, checksum, describe, read_changes, shorten, stored_seed
from .config import MAX_SIZE, Array, Config
from .dataset import read_sequences
from .device import ComputeDevice
from .history import History
from .loop import BatchLearner, Callback, Keep, TrainingUpdate, train
from .losses import LOSSES, Loss, Weights, find_loss, name_of
from .network import RNN, require_network
from .objective import Objective
from .optimizers import Adam, Optimizer
from .randomness import NOTHING, Drawn, read_dropout, read_noise
from .schedules import Schedule, read_factor
from .truncation import evaluate, read_truncation, require_windows, windows
from .validation import as_array

Examples = TypeVar("Examples")

# Settings of a training that a checkpoint can go on without.
CHANGEABLE = (
    *("optimizer", "batch_size", "k1, k2", "shuffle", "seed", "dropout", "data", "validation"),
    *("schedule", "noise"),
)
VALIDATION = 1  # where `derive` makes keys for it
Trainable = Mapping[str, bool | ArrayLike]


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
    seed: Seed = None,
    dropout: float = 0.0,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int = 1,
    patience: int | None = None,
    progress: bool = True,
    callback: Callback | None = None,
    *,
    weights: Weights | None = None,
    trainable: Trainable | None = None,
    schedule: Schedule | None = None,
    keep: Keep = "last",
    on_update: Callable[[TrainingUpdate], object] | None = None,
    tokens: bool | None = None,
    noise: float = 0.0,
    changed: str | Sequence[str] = (),
) -> History:
    """Train a network in place on n sequences, or k networks at once on the same batches.

    A network has diverged when the loss or the gradient norm of a batch is not finite, or the loss is above
    1000 times the largest of a batch in epoch 0, plus 10. The network then gets the parameters back that it
    had before the epoch with the least training loss, which may be those at the call: later ones, whose
    losses were still finite, may be ruined. Of k networks those that diverge stop there
    (`History.diverged`), and the others go on. Ctrl-C leaves the parameters of the last update, and the
    state of the optimiser that goes with them. With keep="best" all three leave the parameters after the best
    epoch so far.

    Do not change the arrays during the training: their values are checked once, at the call.

    Parameters
    ----------
    rnn : RNN
        One network, or k at once.
    x : array_like of shape (n, t, i), or integer tokens of shape (n, t)
        As in `RNN.loss_and_gradients`, for k networks also with a leading axis k. On the gpu, CuPy arrays
        stay where they are, and NumPy arrays are sent batch by batch; the same goes for targets.
    targets : array_like
        As in `RNN.loss_and_gradients`.
    validation : tuple, optional
        (x, targets), (x, targets, lengths) or (x, targets, lengths, mask), whose loss is taken after each
        epoch.
    loss : str or callable, default "cross_entropy"
        As in `RNN.loss_and_gradients`. What a function returns is logged, and weighs as much in the mean over
        the epoch as steps count in the batch. It gets the targets of the sequences in the batch, for any
        array with n rows; a second axis of t steps is cut as x is, to windows and the longest of the batch.
        Checkpoints know it by its module and name.
    optimizer : SGD, RMSprop, Adam, AdamW or HessianFree, optional
        It goes on from its state; the default is a new `Adam`. With learning rates (k,) the networks are a
        sweep over learning rates.
    epochs : int, default 10
        Number of passes over the sequences.
    batch_size : int, default 32
        Sequences per update. The gradient is that of the mean over their steps that count, with "ctc" over
        the sequences. Sequences in which no step counts are dropped.
    lengths : array_like of shape (n,), optional
        Steps of each sequence, as in `RNN.loss_and_gradients`.
    mask : array_like of shape (n, t), optional
        Steps that count, as in `RNN.loss_and_gradients`.
    k1, k2 : int, optional
        Truncate as `truncated_bptt` does, with an update for each window in which a step counts. By default
        gradients go through the whole sequence, and with "ctc" always.
    shuffle : bool, default True
        Draw a new order of the sequences every epoch, from seed and the number of the epoch.
    seed : int, numpy.random.Generator or None
        From 0 to 2^64 - 1, a generator that is drawn from once, or None for a fresh seed, for the order of
        the sequences, dropout and noise. `History.seed` says it. With None, training that resumes from a
        checkpoint takes the seed that this holds.
    dropout : float, default 0.0
        As in `RNN.loss_and_gradients`, with other units in each update: they follow from seed and the number
        of updates that the optimiser has made.
    checkpoint : path, optional
        A .npz file, replaced in one step every `checkpoint_every` epochs and at the end. If it exists,
        training resumes from it, and ends with the same bits as an uninterrupted one on the same backend and
        in the same precision; the parameters at the call then do not matter, and epochs may be more than
        before. `RNN.load` reads the network of the last epoch from it.
    checkpoint_every : int, default 1
        Epochs between two checkpoints.
    patience : int, optional
        Stop after this many epochs without a new `History.best_epoch` of any network. The parameters are
        those of the last epoch, unless keep says otherwise.
    progress : bool, default True
        Show a bar with the time left, in a terminal or a notebook.
    callback : callable, optional
        Called after each epoch, before its checkpoint, with the number of the epoch, from 0, and the
        `History` so far. It may set `optimizer.learning_rate`, which checkpoints keep. If it returns True,
        training ends.
    weights : dict, optional
        As in `RNN.loss_and_gradients`, with n for b. Batches weigh as much as their steps do. Those of
        "classes" hold for validation too, those of "steps" and "rows" do not.
    trainable : mapping of str to bool or array_like of bool, optional
        By the key of a parameter whether it is trained, or which numbers of it: an array that broadcasts to
        its shape. What is not trained keeps its bits, and its gradient does not count in the norm. Others are
        trained, except constants of the cell, such as the leak of "leaky".
    schedule : callable, optional
        Function of the number of updates that the optimiser has made, from 0, that returns the factor of its
        learning rate in the next one, such as `CosineDecay` or `StepDecay`.
    keep : {"last", "best"}, default "last"
        Which parameters the network has in the end: "best" are those after `History.best_epoch`, of each of k
        networks its own, or those at the call before an epoch is over. The state of the optimiser is always
        that of the last update, and so are the parameters that checkpoints go on from.
    on_update : callable, optional
        Called after each update with a `TrainingUpdate`. If it returns True, training ends when the epoch is
        over. Weights that it changes are then set to values that `connections` and `signs` of `RNN` allow.
    tokens : bool, optional
        Whether x is tokens, also in validation, as in `RNN.forward`.
    noise : float, default 0.0
        As in `RNN.forward`, other numbers in each update, as for dropout. Validation has its own, the same
        after each epoch.
    changed : str or sequence of str, default ()
        Settings that may differ from those of the training in the checkpoint, which goes on with the new
        ones: "optimizer" (its arguments, such as the learning rate, but not the rule), "batch_size",
        "k1, k2", "shuffle", "seed", "dropout", "data" (x, targets, lengths, mask and weights), "validation"
        (other data, where there was some), "schedule", "noise".

    Returns
    -------
    History
        Losses and gradient norms of all epochs.

    Raises
    ------
    ValueError
        For invalid arguments, before any work, and for a checkpoint that is damaged or belongs to another
        training, which the message names.
    FloatingPointError
        When the network, or the last of k, has diverged.
    OSError
        If the checkpoint cannot be written.

    Examples
    --------
    Six random bits, whose targets are the bits of the step before:

    >>> bits = np.random.default_rng(0).integers(0, 2, (256, 6))
    >>> rnn = fastrec.RNN(2, 8, 2, seed=1)
    >>> mask = np.ones(bits.shape, bool)
    >>> mask[:, 0] = False
    >>> options = {"optimizer": fastrec.Adam(0.03), "mask": mask, "seed": 1}
    >>> history = fastrec.fit(rnn, bits, np.roll(bits, 1, axis=1), **options)
    >>> bool(history.train[-1] < 0.1 < history.train[0])
    True
    """
    require_network(rnn)
    held_out = validation if isinstance(validation, Sequence) else ()
    c, at = rnn._config, rnn._device(x, targets, lengths, mask, *held_out)
    rnn._weights(at.backend)
    changes = read_changes(changed, CHANGEABLE, checkpoint)
    shuffle, progress = as_bool("shuffle", shuffle), as_bool("progress", progress)
    seed = begin_checkpoint(checkpoint, seed)
    options = read_options(epochs, batch_size, seed, patience, callback, keep)
    check_on_update(on_update)
    keys, masks = read_trainable(c, at, trainable)
    every = as_int("checkpoint_every", checkpoint_every, 1, MAX_SIZE)
    if k1 is None and k2 is not None:
        raise ValueError(f"k2 is {shown(k2)} without k1; give both, or k1 alone")
    truncation = (MAX_SIZE, MAX_SIZE) if k1 is None else read_truncation(k1, k2)
    optimizer = check_optimizer(Adam() if optimizer is None else optimizer, searches=True)
    if optimizer._searches:
        require_objective(loss, k1)
    optimizer._slots({key: rnn.parameters[key] for key in keys}, c.models, at.backend)
    check_schedule(schedule, optimizer)
    read_dropout(c, dropout, 0)
    read_noise(c, noise, 0)
    data = read_sequences(c, at, x, targets, lengths, mask, loss, tokens, weights)
    if not (counting := data.counted.any(axis=1)).all():
        data = data.rows(np.flatnonzero(counting))
    require_windows(c, data, *truncation, loss)
    validation_data = None
    if validation is not None:
        names = "x, targets, and perhaps lengths, mask"
        of_classes = {"classes": weights["classes"]} if weights and "classes" in weights else None
        read = partial(read_sequences, c, at, loss=loss, tokens=tokens, weights=of_classes)
        validation_data = read_validation(validation, names, read)
    held_noise = Drawn(noise=read_noise(c, noise, derive(options["seed"], 0, VALIDATION)))
    draw = update_draws(c, options["seed"], optimizer, dropout, noise)
    learner = BatchLearner(
        *(at, rnn, c.models, name_of(loss), optimizer, validation_data, data),
        learn=lambda batch: windows(rnn, at, batch, *truncation, loss, draw=draw),
        summed_loss=lambda batch: evaluate(rnn, at, batch, loss, drawn=held_noise)[0],
        **options,
        shuffle=shuffle,
        on_update=on_update,
        schedule=schedule,
        keys=keys,
        masks=masks,
        constraints=rnn._constraints,
        objective=lambda batch: (
            Objective(rnn, at, batch, loss, keys, draw()) if optimizer._searches else None
        ),
    )
    file = None
    if checkpoint is not None:
        settings = (
            c.settings
            | {
                "loss": name_of(loss),
                "k1, k2": None if k1 is None else truncation,
                "shuffle": shuffle,
                "data": describe(data),
                "validation": describe(validation_data),
            }
            | describe_options(optimizer, options, dropout, schedule)
            | ({"noise": noise} if noise else {})
            | describe_trained(c, keys, masks)
            | ({"constraints": checksum(*limits.values())} if (limits := rnn._constraints.allowed) else {})
        )
        about = (changes, CHANGEABLE, {"seed": rnn.seed})
        file = Checkpoint(checkpoint, shorten(settings), every, options["epochs"], *about)
        file.resume(learner.state())
        rnn._seed = file.beside["seed"]
    train(learner, file, progress)
    return learner.history()


def begin_checkpoint(checkpoint: str | os.PathLike[str] | None, seed: Seed) -> Seed:
    """Check the argument `checkpoint` of `fastrec.fit`; return the seed, that of its file for None."""
    if checkpoint is None:
        return seed
    as_path("checkpoint", checkpoint)
    require_suffix(checkpoint, ".npz")
    require_writable(checkpoint)
    return stored_seed(checkpoint) if seed is None else seed


def describe_options(
    optimizer: Optimizer, options: dict[str, Any], dropout: float, schedule: Schedule | None
) -> dict[str, Any]:
    """The settings of a checkpoint that say how a training goes on: options are those of `read_options`."""
    return (
        {
            "optimizer": optimizer._text(optimizer._first_rate),
            "batch_size": options["batch_size"],
            "seed": options["seed"],
        }
        | ({"dropout": dropout} if dropout else {})
        | ({"keep": options["keep"]} if options["keep"] != "last" else {})
        | ({"schedule": name_of(schedule)} if schedule is not None else {})
    )


def check_schedule(schedule: Schedule | None, optimizer: Optimizer) -> None:
    """Raise ValueError unless the next update has a factor of its learning rate."""
    if schedule is None:
        return
    if not callable(schedule):
        raise ValueError(f"schedule is {shown(schedule)}; it must be a function of the number of an update")
    read_factor(schedule, optimizer._step)


def read_options(
    epochs: int,
    batch_size: int,
    seed: Seed,
    patience: int | None,
    callback: Callback | None,
    keep: Keep = "last",
) -> dict[str, Any]:
    """Check the arguments of `fastrec.fit` that are fields of a `BatchLearner`."""
    if callback is not None and not callable(callback):
        raise ValueError(f"callback is {shown(callback)}; it must be a function of an epoch and a History")
    return {
        "epochs": as_int("epochs", epochs, 1, MAX_SIZE),
        "batch_size": as_int("batch_size", batch_size, 1, MAX_SIZE),
        "seed": read_seed(seed),
        "patience": None if patience is None else as_int("patience", patience, 1, MAX_SIZE),
        "callback": callback,
        "keep": as_choice("keep", keep, get_args(Keep)),
    }


def check_on_update(on_update: Any) -> None:
    """Check the argument `on_update` of `fastrec.fit`."""
    if on_update is not None and not callable(on_update):
        raise ValueError(f"on_update is {shown(on_update)}; it must be a function of a TrainingUpdate")


def check_optimizer(optimizer: Any, searches: bool = False) -> Optimizer:
    """Return the optimiser; ValueError if it is none.  searches: whether it may be a `HessianFree`."""
    if not isinstance(optimizer, Optimizer) or (optimizer._searches and not searches):
        rules = "SGD, RMSprop, Adam, AdamW or HessianFree" if searches else "SGD, RMSprop, Adam or AdamW"
        raise ValueError(f"optimizer is {shown(optimizer)}; it must be an {rules}")
    return optimizer


def require_objective(loss: Loss, k1: int | None) -> None:
    """Raise ValueError unless the loss is a convex function of the outputs of whole sequences."""
    if callable(loss) or find_loss(loss).labels:
        known = one_of([name for name, kind in LOSSES.items() if not kind.labels])
        raise ValueError(f'loss is "{name_of(loss)}"; HessianFree takes {known}')
    if k1 is not None:
        raise ValueError(f"k1 is {shown(k1)}; HessianFree takes whole sequences, leave it out")


def read_trainable(
    c: Config, at: ComputeDevice, trainable: Trainable | None
) -> tuple[tuple[str, ...], dict[str, Array]]:
    """Check the argument `trainable`; return the keys that are trained, and masks (k, n) of parts of them."""
    given = {} if trainable is None else trainable
    if not isinstance(given, Mapping) or not given.keys() <= c.shapes.keys():
        raise ValueError(f"trainable is {shown(given)}; give a dict with keys of {', '.join(c.shapes)}")
    keys, masks = [], {}
    for key, shape in c.shapes.items():
        mask = move(as_array(f'trainable["{key}"]', given.get(key, key not in c.constants)), "cpu")
        try:
            whole = np.broadcast_to(mask, shape)
        except ValueError:
            whole = None
        if whole is None or mask.dtype != np.bool_:
            raise ValueError(
                f'trainable["{key}"] has shape {mask.shape} and dtype {mask.dtype}; it must be True, '
                f"False, or bool that broadcasts to {shape}"
            )
        if mask.any():
            keys.append(key)
            if not mask.all():
                masks[key] = at.take(np.array(whole).reshape(c.k, -1))
    if not keys:
        raise ValueError(
            f"trainable is {shown(given)}, which leaves nothing to train; let a parameter be True"
        )
    return tuple(keys), masks


def describe_trained(c: Config, keys: tuple[str, ...], masks: Mapping[str, Array]) -> dict[str, str]:
    """The settings of a checkpoint that say what is trained, as `read_trainable` returns it."""
    whole = {"trained": ", ".join(keys)} if len(keys) < len(c.shapes) else {}
    return whole | {f"trained of {key}": checksum(mask) for key, mask in masks.items()}


def read_validation(validation: Any, names: str, read: Callable[..., Examples]) -> Examples:
    """Check an argument `validation` of two to four parts with those names, of which two may be missing."""
    if not np.iterable(validation):
        raise ValueError(f"validation is {shown(validation)}; give a tuple of {names}")
    parts = tuple(validation)
    if not 2 <= len(parts) <= 4:
        raise ValueError(f"validation has {len(parts)} parts; give a tuple of {names}")
    try:
        return read(*(*parts, None, None)[:4])
    except ValueError as error:
        raise ValueError(f"validation: {error}") from None


def update_draws(
    c: Config, seed: int, optimizer: Optimizer, dropout: float, noise: float = 0.0
) -> Callable[[], Drawn]:
    """Return a function that says which dropout and noise the next update of an optimiser has."""
    if not dropout and not noise:
        return lambda: NOTHING

    def draw() -> Drawn:
        key = derive(seed, optimizer._step)
        return Drawn(read_dropout(c, dropout, key), read_noise(c, noise, key))

    return draw
