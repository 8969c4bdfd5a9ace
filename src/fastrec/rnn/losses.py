"""Losses, by name or of the user, and how much steps, rows and outputs count in them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..backend import array_module, backend_of, move
from ..messages import shown
from ..validation import as_choice, one_of
from .config import Array, Config
from .device import ComputeDevice
from .labelling import BLANK, read_labels, require_alignments, require_lattice_memory
from .validation import (
    Batch,
    as_array,
    as_numbers,
    contiguous,
    logical_and,
    public,
    read_floats,
    read_integers,
    with_k,
)

LossName = Literal["cross_entropy", "mse", "mean_squared_error", "bce", "ctc"]
Loss = LossName | Callable[..., tuple[Any, Any]]
Reduction = Literal["mean", "sum"]
Weights = Mapping[str, ArrayLike]  # of "steps", "rows" and "classes"
MOST_WEIGHT = 1e30  # so that products and sums of weights neither overflow nor vanish


class NamedLoss(NamedTuple):
    """A loss that has a kernel."""

    kernel: str
    unit: str  # of its values, for axes of figures
    classes: bool = False  # targets are integers (b, t), else numbers (b, t, o)
    labels: bool = False  # targets are labels (b, u) of whole sequences, which the mean is over
    largest: float = np.inf  # target, where the least is 0
    averages: bool = False  # twice the kernel's sum over the outputs of a step, divided by their number


LOSSES: dict[str, NamedLoss] = {
    "cross_entropy": NamedLoss("cross_entropy", "cross entropy (nats per step)", classes=True),
    "mse": NamedLoss("squared_error", "half the squared error (per step)"),
    "mean_squared_error": NamedLoss("squared_error", "mean squared error", averages=True),
    "bce": NamedLoss("binary_cross_entropy", "binary cross entropy (nats per step)", largest=1),
    "ctc": NamedLoss("ctc", "CTC loss (nats per sequence)", labels=True),
}


class Targets(NamedTuple):
    """Checked targets as kernels take them, where they were given, and what counts."""

    values: Array  # (m, b, t) or (m, b, u) int32, or (m, b, t, o); (1, b, ...) for a loss of the user
    counted: Array  # (b, t) bool, the steps whose loss counts, or float64, how much; the first one for labels
    total: float  # their number, or the sum of their weights
    output_weights: Array | None = None  # (o,) float64
    lengths: Array | None = None  # (b,) int64, of the sequences of labels, None if all are t


class LossSpec(NamedTuple):
    """A loss as its kernel takes it."""

    kernel: Callable[..., None]
    targets: Array
    weights: tuple[Array, ...]  # float64 (b, t), and of outputs (o,); or lengths (b,) int64, and of rows (b,)
    scale: Array  # (k,) float64


def find_loss(loss: Any) -> NamedLoss:
    """Return the loss of a name; ValueError if there is none."""
    if not (isinstance(loss, str) and loss in LOSSES):
        raise ValueError(f"loss is {shown(loss)}; it must be {one_of(tuple(LOSSES))}, or a function")
    return LOSSES[as_choice("loss", loss, tuple(LOSSES))]


def name_of(function: Any) -> str:
    """Return what files and messages call a choice: its name, and the arguments that a data class holds."""
    if isinstance(function, str):
        return str.__str__(function)
    if is_dataclass(function) and not isinstance(function, type):
        return repr(function)
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


def takes_mask(loss: Callable[..., Any]) -> bool:
    """Return whether a loss of the user has a parameter `mask`."""
    try:
        return "mask" in inspect.signature(loss).parameters
    except (TypeError, ValueError):  # of some functions in C
        return False


def check_targets(
    c: Config,
    device: ComputeDevice,
    shape: tuple[int, int],
    valid: Array | None,
    targets: ArrayLike,
    loss: Loss,
    mask: ArrayLike | None,
    weights: Weights | None,
) -> Targets:
    """Check the arguments of `fastrec.RNN.loss` that are not those of forward.  shape: (b, t) of x."""
    kind, counted = None if callable(loss) else find_loss(loss), valid
    if callable(loss):
        for name, value in (("mask", mask), ("weights", weights)):
            if value is not None and not (name == "mask" and takes_mask(loss)):
                cure = "give it a parameter mask" if name == "mask" else "let it weigh by itself"
                raise ValueError(f"{name} is given, and the loss {name_of(loss)} does not take it; {cure}")
    if mask is not None:
        counted = as_array("mask", mask)
        if counted.dtype != np.bool_ or counted.shape != shape:
            form = f"shape {counted.shape} and dtype {counted.dtype}"
            raise ValueError(f"mask has {form}; it must be bool {shape}, True where a step counts")
        counted = counted.copy()  # the steps that are counted here are those that the kernels will see
        if valid is not None:
            counted = logical_and(counted, valid)
    b, t = shape
    total: float = b * t
    if counted is not None:
        total = int(array_module(backend_of(counted)).count_nonzero(counted))
    values, output_weights = as_array("targets", targets), None
    if total == 0:
        raise ValueError("mask and lengths leave no step to take the loss of; let at least one count")
    if kind is None:
        if values.shape[:1] != (b,):
            raise ValueError(
                f"targets has shape {values.shape}; its first axis must be that of {b} sequences"
            )
        return Targets(values[None], np.ones(shape, np.bool_) if counted is None else counted, total)
    if kind.labels:
        if mask is not None:
            raise ValueError(
                f'mask is given, and loss="{name_of(loss)}" takes all steps; say lengths instead'
            )
        return check_labels(c, device, shape, valid, values, kind, weights)
    shared = shape if kind.classes else (*shape, c.outputs_width)
    has_k = c.models is not None and values.shape == (*c.lead, *shared)
    if values.dtype.kind not in ("iu" if kind.classes else "fiub") or not (values.shape == shared or has_k):
        or_led = f", also led by k = {c.models}" if c.models else ""
        raise ValueError(
            f"targets has shape {values.shape} and dtype {values.dtype}; "
            f'loss="{name_of(loss)}" takes {"integers" if kind.classes else "numbers"} {shared}{or_led}'
        )
    if kind.classes:
        values = read_integers("targets", values, c.outputs_width, counted)
    else:
        values = read_floats("targets", values, c.dtype, counted, device)
        if kind.largest < np.inf:
            require_range(values, counted, kind.largest, f'loss="{name_of(loss)}"')
    values = with_k(values, has_k)
    if weights is not None:
        counted, output_weights = read_weights(c, weights, kind, values, shape, counted)
        total = float(counted.sum())
        if total == 0:
            raise ValueError("weights, mask and lengths leave no step that counts; let at least one count")
    return Targets(values, np.ones(shape, np.bool_) if counted is None else counted, total, output_weights)


def check_labels(
    c: Config,
    device: ComputeDevice,
    shape: tuple[int, int],
    valid: Array | None,
    targets: Array,
    kind: NamedLoss,
    weights: Weights | None,
) -> Targets:
    """`check_targets` for labels of whole sequences."""
    b, t = shape
    has_k = c.models is not None and targets.ndim == 3
    if targets.dtype.kind not in "iu" or targets.shape[:-1] not in ((b,), (*c.lead, b)):
        or_led = f", also led by k = {c.models}" if c.models else ""
        raise ValueError(
            f"targets has shape {targets.shape} and dtype {targets.dtype}; labels are integers ({b}, u)"
            f"{or_led}, each row filled up with -1"
        )
    labels = with_k(read_labels("targets", move(targets, "cpu"), c.outputs_width, BLANK), has_k)
    lengths = np.full(b, t) if valid is None else move(valid, "cpu").sum(axis=1)
    require_alignments("targets", labels, lengths)
    require_lattice_memory(device, c.k * b, t, labels.shape[-1])
    counted: Array = np.zeros(shape, np.bool_)
    counted[:, 0] = True
    if weights is not None:
        counted, _ = read_weights(c, weights, kind, labels, shape, counted)
        if not counted.any():
            raise ValueError("weights leave no row that counts; let at least one count")
    return Targets(labels, counted, float(counted.sum()), lengths=lengths)


def require_range(values: Array, counted: Array | None, most: float, what: str) -> None:
    """Raise ValueError unless targets are from 0 to a number at the steps that count."""
    bad = (values < 0) | (values > most)
    if counted is not None:
        bad &= move(counted, backend_of(values))[..., None]
    if bad.any():
        value = move(values[bad][:1], "cpu")[0]
        raise ValueError(f"targets holds {value}; {what} takes numbers from 0 to {most:g}")


def read_weights(
    c: Config,
    weights: Weights,
    kind: NamedLoss,
    targets: Array,
    shape: tuple[int, int],
    counted: Array | None,
) -> tuple[Array, Array | None]:
    """Check the argument `weights` of `fastrec.RNN.loss`; return weights (b, t) of steps and (o,) of outputs.

    Those of classes become part of the weights of steps.
    """
    shapes: dict[str, tuple[int, ...]] = {"rows": shape[:1]}
    if not kind.labels:
        shapes = {"steps": shape, **shapes, "classes": (c.outputs_width,)}
    if not isinstance(weights, Mapping) or not weights.keys() <= shapes.keys() or not weights:
        raise ValueError(f"weights is {shown(weights)}; give a dict with {one_of(tuple(shapes))}")
    on = np.ones(shape, np.bool_) if counted is None else move(counted, "cpu")
    read = {}
    for name, value in weights.items():
        label = f'weights["{name}"]'
        array = move(as_numbers(label, value, shapes[name]), "cpu").astype(np.float64)
        fine = (array == 0) | ((array >= 1 / MOST_WEIGHT) & (array <= MOST_WEIGHT))
        bad = ~fine & (on if name == "steps" else True)
        if bad.any():
            limits = f"from {1 / MOST_WEIGHT:g} to {MOST_WEIGHT:g}"
            raise ValueError(f"{label} holds {array[bad][0]}; weights must be 0, or {limits}")
        read[name] = array
    of_steps = np.where(on, read.get("steps", 1.0), 0.0) * read.get("rows", np.ones(shape[0]))[:, None]
    classes = read.get("classes")
    if classes is None or not kind.classes:
        return of_steps, classes
    if len(targets) > 1:
        k = len(targets)
        raise ValueError(f'weights has "classes", and targets are led by k = {k}; give those that all share')
    return of_steps * classes[move(targets[0], "cpu")], None


def read_targets(
    c: Config,
    batch: Batch,
    targets: ArrayLike,
    loss: Loss,
    reduction: str,
    mask: ArrayLike | None,
    weights: Weights | None = None,
) -> LossSpec:
    """The arguments of `fastrec.RNN.loss_and_gradients` that are not those of forward, checked."""
    check_reduction(reduction, loss)
    shape = batch.x.shape[1:3]
    checked = check_targets(c, batch.device, shape, batch.valid, targets, loss, mask, weights)
    return make_loss_spec(c, batch.device, checked, loss, divisor(c, loss, reduction, checked.total))


def make_loss_spec(
    c: Config, device: ComputeDevice, targets: Targets, loss: Loss, divisor: float
) -> LossSpec:
    """A loss of checked targets, divided by a number: that of a function, the mean, by `total`."""
    values, o = device.take(contiguous(targets.values, targets.values.dtype)), c.outputs_width
    counted, total, xp = targets.counted, targets.total, device.xp
    if not callable(loss) and find_loss(loss).labels:
        b, t = counted.shape
        lengths = xp.full(b, t) if targets.lengths is None else device.take(targets.lengths)
        of_rows = device.take(contiguous(counted[:, 0], np.dtype(np.float64)))
        scale = xp.full(c.k, 1 / divisor)
        return LossSpec(partial(device.kernels.ctc, BLANK), values, (lengths, of_rows), scale)
    if counted.dtype == np.bool_ and total == counted.size:
        weights = [xp.ones(counted.shape)]
    else:
        weights = [device.take(contiguous(counted, np.dtype(np.float64)))]
    if callable(loss):
        kernel = partial(call_loss, c, device, loss)
        return LossSpec(kernel, values, tuple(weights), xp.full(c.k, total / divisor))
    kind = find_loss(loss)
    if not kind.classes:
        given = targets.output_weights
        weights.append(xp.ones(o) if given is None else device.take(given))
    scale = xp.full(c.k, (2 / o if kind.averages else 1) / divisor)
    return LossSpec(getattr(device.kernels, kind.kernel), values, tuple(weights), scale)


def divisor(c: Config, loss: Loss, reduction: str, total: float) -> float:
    """What the sum over steps is divided by; a sum is that over outputs too, as PyTorch's."""
    if reduction == "mean":
        return total
    return 1 / c.outputs_width if find_loss(loss).averages else 1.0


def check_reduction(reduction: str, loss: Loss) -> None:
    """Raise ValueError unless it is a `Reduction`, and the default for a loss of the user."""
    as_choice("reduction", reduction, ("mean", "sum"))
    if callable(loss) and reduction != "mean":
        raise ValueError(
            f'reduction is "{reduction}", and the loss {name_of(loss)} decides that; leave it out'
        )


def call_loss(
    c: Config,
    device: ComputeDevice,
    loss: Callable[..., Any],
    outputs: Array,
    targets: Array,
    weights: Array,
    scale: Array,
    losses: Array,
    d_outputs: Array,
) -> None:
    """A loss of the user in the form of the kernel `cross_entropy`."""
    xp, on = device.xp, weights != 0
    given = public(c, xp.where(on[..., None], outputs, 0))  # a copy: d_outputs may be outputs
    made = loss(given, targets[0], **({"mask": on} if takes_mask(loss) else {}))
    what = f"the loss {name_of(loss)}"
    if not (isinstance(made, tuple) and len(made) == 2):
        raise ValueError(
            f"{what} returned {shown(made)}; it must return its value and the gradient of outputs"
        )
    value = as_numbers(f"the value of {what}", made[0], c.lead)
    gradient = as_numbers(f"the gradient of {what}", made[1], given.shape)
    losses[...] = 0
    losses[:, 0] = device.take(value)
    if d_outputs.shape[3]:
        d = device.take(gradient).reshape(d_outputs.shape) * scale[:, None, None, None]
        with np.errstate(over="ignore"):  # the norm of the gradients tells
            d_outputs[...] = xp.where(on[..., None], d, 0)
