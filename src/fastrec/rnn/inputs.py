"""Checks of the arrays that a recurrent network is given, and the form in which kernels take them."""

from __future__ import annotations

from types import ModuleType
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..arguments import require_memory, writable
from .config import Array, Config

Loss = Literal["cross_entropy", "mse"]
Reduction = Literal["mean", "sum"]

NO_TOKENS = np.empty((1, 0, 0), dtype=np.int32)


class Batch(NamedTuple):
    """Checked inputs as the kernels take them; k networks, m = 1 for what they share."""

    module: ModuleType
    weights: dict[str, Array]  # the parameters, (k, ...)
    x: Array  # (m, b, t, i), or (m, b, t, 0) beside tokens
    tokens: Array  # (m, b, t) int32, or NO_TOKENS
    lengths: Array  # (b,) int64
    valid: Array | None  # (b, t) bool: the steps before each row's length; None where all are
    start: Array  # (layers, k, b, s)
    learned: bool  # the initial state is h0


class Goal(NamedTuple):
    """A loss as its kernel takes it."""

    kernel: Any
    targets: Array  # (m, b, t) int32 or (m, b, t, o)
    mask: Array  # (b, t) bool
    scale: Array  # (k,) float64


def as_inputs(c: Config, x: ArrayLike, rows: str, row: str) -> tuple[Array, bool, bool]:
    """x as an array, whether it is tokens, and whether it has an axis k; ValueError unless its shape fits.

    rows and row are the letter and the word for its first axis in messages.
    """
    array = as_array("x", x)
    kind, shape = array.dtype.kind, array.shape
    led = c.models is not None and shape[:1] == c.lead
    are_tokens = kind in "iu" and (len(shape) == 2 or (len(shape) == 3 and led))
    are_numbers = kind in "fiub" and (len(shape) == 3 or (len(shape) == 4 and led))
    if not are_tokens and not (are_numbers and shape[-1] == c.input_size):
        or_led = f", either also led by k = {c.models}" if c.models else ""
        raise ValueError(
            f"x has shape {shape} and dtype {array.dtype}; this network takes numbers "
            f"({rows}, t, {c.input_size}) or integer tokens ({rows}, t){or_led}"
        )
    if 0 in (shape[-2:] if are_tokens else shape[-3:-1]):
        raise ValueError(f"x is empty, shape {shape}; give at least one {row} and one step")
    return array, are_tokens, len(shape) == 4 - are_tokens


def read_batch(
    c: Config,
    module: ModuleType,
    weights: dict[str, Array],
    x: ArrayLike,
    state: ArrayLike | None,
    lengths: ArrayLike | None,
    gradients: bool,
    keep: bool,
) -> Batch:
    """The arguments of `fastrec.RNN.forward`, checked.

    What needs memory: gradients, whether they will be asked for; keep, whether what they need is kept.
    """
    array, are_tokens, led = as_inputs(c, x, "b", "row")
    b, t = array.shape[led : led + 2]
    saved = sum(c.saved) if keep or c.cell == "jordan" else c.saved[0]
    width = c.num_layers * saved + c.outputs_width * c.has_output_layer
    if gradients:
        width += c.hidden_size * min(c.num_layers, 3) + c.outputs_width * (c.cell == "jordan")
    converted = 0 if are_tokens or array.dtype == c.dtype else array.size
    job = f"a batch of {b} rows and {t} steps"
    require_memory(job, (c.k * b * t * width + converted) * c.dtype.itemsize)
    valid = None
    if lengths is None:
        lengths = np.full(b, t, dtype=np.int64)
    else:
        lengths = read_lengths(lengths, b, t)
        valid = np.arange(t) < lengths[:, None]
    start = read_state(c, "state", state, b, module)
    if state is None:
        for layer, keys in enumerate(c.initial):
            for key, part in zip(keys, initial_parts(c, start[layer]), strict=True):
                part[...] = weights[key][:, None]
    if are_tokens:
        tokens = read_integers("x", array, c.input_size, valid)
        tokens = tokens if led else tokens[None]
        floats = np.empty((*tokens.shape, 0), c.dtype)
    else:
        floats = read_floats("x", array, c.dtype, valid, module)
        floats, tokens = floats if led else floats[None], NO_TOKENS
    return Batch(module, weights, floats, tokens, lengths, valid, start, state is None)


def read_targets(
    c: Config, batch: Batch, targets: ArrayLike, loss: str, reduction: str, mask: ArrayLike | None
) -> Goal:
    """The arguments of `fastrec.RNN.loss_and_gradients` that are not those of forward, checked."""
    if loss not in ("cross_entropy", "mse"):
        raise ValueError(f'loss is {loss!r}; it must be "cross_entropy" or "mse"')
    if reduction not in ("mean", "sum"):
        raise ValueError(f'reduction is {reduction!r}; it must be "mean" or "sum"')
    b, t = shape = batch.x.shape[1:3]
    counted = batch.valid
    if mask is not None:
        given = as_array("mask", mask)
        if given.dtype != np.bool_ or given.shape != shape:
            found = f"shape {given.shape} and dtype {given.dtype}"
            raise ValueError(f"mask has {found}; it must be bool {shape}, True where a step counts")
        counted = given if counted is None else given & counted
    count = b * t if counted is None else int(np.count_nonzero(counted))
    if count == 0:
        raise ValueError("mask and lengths leave no step to take the loss of; let at least one count")
    array = as_array("targets", targets)
    entropy = loss == "cross_entropy"
    one = shape if entropy else (*shape, c.outputs_width)
    led = c.models is not None and array.shape == (*c.lead, *one)
    if array.dtype.kind not in ("iu" if entropy else "fiub") or not (array.shape == one or led):
        or_led = f", also led by k = {c.models}" if c.models else ""
        raise ValueError(
            f"targets has shape {array.shape} and dtype {array.dtype}; "
            f'loss="{loss}" takes {"integers" if entropy else "numbers"} {one}{or_led}'
        )
    if entropy:
        checked = read_integers("targets", array, c.outputs_width, counted)
    else:
        checked = read_floats("targets", array, c.dtype, counted, batch.module)
    return Goal(
        batch.module.cross_entropy if entropy else batch.module.squared_error,
        checked if led else checked[None],
        np.ones(shape, np.bool_) if counted is None else contiguous(counted, counted.dtype),
        np.full(c.k, 1 / count if reduction == "mean" else 1.0),
    )


def read_state(c: Config, name: str, value: ArrayLike | None, b: int, module: ModuleType) -> Array:
    """A copy of a state, or of a gradient of one, as (layers, k, b, s); zeros for None."""
    if value is None:
        return np.zeros((c.num_layers, c.k, b, c.state), c.dtype)
    array = as_numbers(name, value, (*c.lead, c.num_layers, b, c.state))
    array = read_floats(name, array, c.dtype, None, module)
    return np.array(array.swapaxes(0, 1) if c.models else array[:, None], order="C")


def initial_parts(c: Config, state: Array) -> Array:
    """The state (k, b, s) of a layer as (parts, k, b, s / parts), a part for each key in its `initial`."""
    return state.reshape(*state.shape[:2], len(c.initial[0]), -1).transpose(2, 0, 1, 3)


def as_array(name: str, value: ArrayLike) -> Array:
    try:
        return np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:  # NumPy's own, and those of foreign arrays
        raise ValueError(f"{name} is not an array: {error}") from None


def as_numbers(name: str, value: ArrayLike, shape: tuple[int, ...]) -> Array:
    """An array of real numbers of that shape."""
    array = as_array(name, value)
    if array.dtype.kind not in "fiub" or array.shape != shape:
        raise ValueError(
            f"{name} has shape {array.shape} and dtype {array.dtype}; it must be numbers {shape}"
        )
    return array


def contiguous(array: Array, dtype: np.dtype[Any]) -> Array:
    """The array as kernels are compiled for: native, aligned, C-contiguous, writable; copied if need be."""
    if array.dtype != dtype or not (array.flags.c_contiguous and array.flags.aligned):
        with np.errstate(over="ignore"):  # the infinities that this makes are found afterwards
            return array.astype(dtype, order="C")
    return array if array.flags.writeable else writable(array)


def read_floats(
    name: str, array: Array, dtype: np.dtype[Any], valid: Array | None, module: ModuleType
) -> Array:
    """Numbers (..., width) of a dtype; those at steps that are not valid (b, t) may be anything.

    Raises ValueError naming one that is not finite.
    """
    floats = contiguous(array, dtype)
    if module.all_finite(floats.reshape(-1)):
        return floats
    bad = ~np.isfinite(floats)
    if valid is not None:
        bad &= valid[..., None]
    if valid is None or bad.any():
        at = np.unravel_index(int(bad.argmax()), bad.shape)
        within = f" in {dtype}" if np.isfinite(array[at]) else ""
        raise ValueError(
            f"{name} holds {array[at]} at [{', '.join(map(str, at))}]; it must be finite{within}"
        )
    floats = floats.copy()
    floats[..., ~valid, :] = 0  # not left to the kernels: 0 times NaN is NaN
    return floats


def read_integers(name: str, array: Array, number: int, valid: Array | None) -> Array:
    """Integers (..., b, t) from 0 to number - 1, int32; those at steps that are not valid may be anything.

    Raises ValueError naming one that is out of range.
    """
    if array.min() < 0 or array.max() >= number:
        bad = (array < 0) | (array >= number)
        if valid is not None:
            bad &= valid
        if bad.any():
            at = np.unravel_index(int(bad.argmax()), bad.shape)
            raise ValueError(
                f"{name} holds {array[at]} at [{', '.join(map(str, at))}]; it must be from 0 to {number - 1}"
            )
        array = np.where((array < 0) | (array >= number), 0, array)
    return contiguous(array, np.dtype(np.int32))


def read_lengths(value: ArrayLike, b: int, t: int) -> Array:
    """Lengths (b,) int64, from 0 to t."""
    array = as_array("lengths", value)
    if array.dtype.kind not in "iu" or array.shape != (b,):
        raise ValueError(
            f"lengths has shape {array.shape} and dtype {array.dtype}; it must be {b} integers, one a row"
        )
    bad = (array < 0) | (array > t)
    if bad.any():
        at = int(bad.argmax())
        raise ValueError(f"lengths[{at}] is {array[at]}; it must be from 0 to t = {t}")
    return array.astype(np.int64)
