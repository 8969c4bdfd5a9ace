"""Checks of the arrays that a recurrent network is given, and the form in which kernels take them."""

from __future__ import annotations

from enum import Enum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..backend import array_module, backend_of, move, on_device
from ..kernels.interruption import uninterrupted
from ..messages import shown
from ..validation import (
    SMALL,
    as_bool,
    listed,
    move_checked,
    require_memory,
    require_unmasked,
    writable,
)
from .config import Array, Config
from .device import ComputeDevice
from .randomness import NOTHING, Drawn

ALL: Any = slice(None)


class Purpose(Enum):
    """What a batch is computed for, which decides what its forward pass keeps and memory is asked for."""

    OUTPUTS = "outputs and the last state"
    TRACE = "gradients that may be asked for later"
    GRADIENTS = "gradients in the same call, which may overwrite what the forward pass has kept"


class Batch(NamedTuple):
    """Checked inputs as the kernels take them; k networks, m = 1 for what they share."""

    device: ComputeDevice
    weights: dict[str, Array]  # the parameters, in `kernel_shapes`, but W_in behind an embedding as E W_in
    embedded: Array | None  # that W_in, if there is one
    used: Array  # the rows of E that tokens, numbers of these, can name: ALL, or those of a small batch
    x: Array  # (m, b, t, i), or (m, b, t, 0) beside tokens
    tokens: Array  # (m, b, t) int32, or those of no_tokens
    lengths: Array  # (b,) int64
    valid: Array | None  # (b, t) bool, beside the lengths given: the steps before those; None where all are
    start: Array  # (layers, nets, b, s)
    learned: bool  # the initial state is h0
    caller: str | None  # a backend where x was given, if that is elsewhere: results go there
    drawn: Drawn
    purpose: Purpose


def as_inputs(
    c: Config, x: ArrayLike, rows: str, row: str, tokens: bool | None = None, least: int = 1
) -> tuple[Array, bool, bool]:
    """x as an array, whether it is tokens, and whether it has an axis k.

    Raises ValueError if no shape fits, or if integers may be tokens as well as numbers and `tokens`, the
    argument of `fastrec.RNN.forward`, does not say which, or if there are fewer steps than `least`.  rows and
    row are the letter and the word for its first axis in messages.
    """
    said = None if tokens is None else as_bool("tokens", tokens)
    array = as_array("x", x)
    kind, shape = array.dtype.kind, array.shape
    has_k = c.models is not None and shape[:1] == c.lead
    are_tokens = kind in "iu" and (len(shape) == 2 or (len(shape) == 3 and has_k))
    are_numbers = kind in "fiub" and (len(shape) == 3 or (len(shape) == 4 and has_k))
    are_numbers = are_numbers and shape[-1] == c.input_size
    if are_tokens and are_numbers and said is None:
        raise ValueError(
            f"x has shape {shape} and dtype {array.dtype}: tokens (k, {rows}, t), or numbers ({rows}, t, "
            f"{c.input_size}) that the {c.models} networks share; say tokens=True or tokens=False"
        )
    if said is not None:
        are_tokens, are_numbers = are_tokens and said, are_numbers and not said
    if not are_tokens and not are_numbers:
        or_led = f", either also led by k = {c.models}" if c.models else ""
        kinds = [f"numbers ({rows}, t, {c.input_size})"] * (said is not True)
        kinds += [f"integer tokens ({rows}, t)"] * (said is not False)
        given = "" if said is None else f", with tokens={said}"
        raise ValueError(
            f"x has shape {shape} and dtype {array.dtype}; this network takes {listed(kinds)}{or_led}{given}"
        )
    b, t = shape[-2:] if are_tokens else shape[-3:-1]
    if not b or t < least:
        raise ValueError(f"x is empty, shape {shape}; give at least one {row}{' and one step' * least}")
    return array, are_tokens, len(shape) == 4 - are_tokens


def read_batch(
    c: Config,
    device: ComputeDevice,
    weights: dict[str, Array],
    x: ArrayLike,
    state: ArrayLike | None,
    lengths: ArrayLike | None,
    purpose: Purpose,
    drawn: Drawn = NOTHING,
    tokens: bool | None = None,
) -> Batch:
    """Check the arguments of `fastrec.RNN.forward` and send them to where the backend computes."""
    array, are_tokens, has_k = as_inputs(c, x, "b", "row", tokens, int(purpose is Purpose.GRADIENTS))
    b, t = array.shape[has_k : has_k + 2]
    require_batch_memory(c, device, array, b, t, purpose, drawn)
    ends = None if lengths is None else read_lengths(lengths, b, t)
    valid = None if ends is None else steps_before(ends, t)
    start = None if state is None else read_state(c, "state", state, b, device)
    kept = purpose is Purpose.TRACE and device.holds(array)
    x = read_steps(c, device, array, are_tokens, valid, private=kept)
    return make_batch(c, device, weights, with_k(x, has_k), ends, start, purpose, drawn, valid)


def read_steps(
    c: Config,
    device: ComputeDevice,
    x: Array,
    are_tokens: bool,
    valid: Array | None,
    private: bool = False,
) -> Array:
    """The values of what `as_inputs` returned, checked at the steps that are valid.

    private: for gradients that are asked for later, when the caller may have filled x anew.
    """
    if are_tokens:
        return read_integers("x", x, c.input_size, valid)
    return read_floats("x", x, c.dtype, valid, device, private)


def require_batch_memory(
    c: Config, device: ComputeDevice, x: Array, b: int, t: int, purpose: Purpose, drawn: Drawn
) -> None:
    """Raise ValueError unless a batch of b rows and t steps fits."""
    if b * t * c.most_bytes <= SMALL:
        return
    cell, keep, layers = c.kind, purpose is not Purpose.OUTPUTS, c.num_layers
    width = layers * (sum(c.saved) if keep or cell.feeds_back_output else c.saved[0])
    width += c.outputs_width * c.has_output_layer + layers * c.hidden_size * (drawn.dropout is not None)
    width += c.hidden_size * (drawn.noise is not None)
    fed_back, turns = c.outputs_width * cell.feeds_back_output, c.direction != "forward"
    if turns:  # sequences turned round, and both halves of the hidden units side by side
        width += 2 * max(c.input_size, c.hidden_width) + layers * (c.hidden_width + c.hidden_size) + fed_back
    if purpose is Purpose.GRADIENTS:
        width += c.hidden_width * min(layers, 3) + fed_back * (1 + 2 * turns)
    if device.backend == "gpu" and (cell.inputs_in is None or (cell.inputs_in and not keep)):
        width += cell.gates * c.hidden_size  # x W_in + b, for which the saved arrays have no room
    in_place = device.holds(x) and x.dtype == c.dtype and purpose is not Purpose.TRACE
    copied = 0 if in_place else x.size
    job = f"a batch of {b} rows and {t} steps"
    require_memory(job, (c.nets * b * t * width + copied) * c.dtype.itemsize, backend=device.backend)


def make_batch(
    c: Config,
    device: ComputeDevice,
    weights: dict[str, Array],
    x: Array,
    lengths: Array | None,
    start: Array | None,
    purpose: Purpose,
    drawn: Drawn,
    valid: Array | None,
) -> Batch:
    """Make a batch of arrays that have been checked, which are sent to where the backend computes.

    x: numbers (m, b, t, i) or int32 tokens (m, b, t), C-contiguous.  lengths: (b,) int64, None if all are t.
    start: (layers, nets, b, s) where the backend computes, None for the learned initial state.
    """
    xp, (_, b, t, *numbers) = device.xp, x.shape
    caller = None if device.holds(x) else backend_of(x)
    if lengths is None:
        lengths = xp.empty(b, np.int64)
        lengths.fill(t)
    learned = start is None
    if start is None:
        start = xp.empty((c.num_layers, c.nets, b, c.state), c.dtype)
        for layer, keys in enumerate(c.initial):
            for key, part in zip(keys, c.state_parts, strict=True):
                start[layer, :, :, part] = weights[key][:, None]
    embedded, used = None, ALL
    few = c.embedding_size is not None and purpose is not Purpose.OUTPUTS and x.size < c.input_size
    if few and not numbers and not on_device(x):  # outputs may be tokens that are read next
        used, x = unique_tokens(x)
    x = device.take(x)
    floats, tokens = (x, device.no_tokens) if numbers else (xp.empty((*x.shape, 0), c.dtype), x)
    if c.embedding_size is not None:
        used = used if used is ALL else device.take(used)
        embedded, weights = weights["W_in"], weights | {"W_in": embed(c, device, weights, used)}
    lengths = device.take(lengths)
    of_weights = (weights, embedded, used)
    return Batch(device, *of_weights, floats, tokens, lengths, valid, start, learned, caller, drawn, purpose)


def unique_tokens(tokens: Array) -> tuple[Array, Array]:
    """The different tokens in an array, and an array of their numbers among these, int32."""
    used, numbers = np.unique(tokens, return_inverse=True)
    return used, numbers.reshape(tokens.shape).astype(np.int32)


def embed(c: Config, device: ComputeDevice, weights: dict[str, Array], used: Array) -> Array:
    """E W_in (nets, i, g h) of some rows of E, of which tokens pick one each: a product for all steps."""
    E, W_in = embedding(c, device, weights, used), weights["W_in"]
    out = device.xp.empty((*E.shape[:3], W_in.shape[2]), dtype=c.dtype)
    lengths = device.xp.full(1, E.shape[2], dtype=np.int64)
    nothing = device.xp.zeros((c.nets, W_in.shape[2]), dtype=c.dtype)
    device.kernels.affine_forward(E, lengths, W_in, nothing, out)
    return out[:, 0]


def embedding(c: Config, device: ComputeDevice, weights: dict[str, Array], used: Array) -> Array:
    """Rows of E (nets, 1, i, e): both directions have the same."""
    E = weights["E"][:, used]
    return device.xp.stack([E] * c.directions, axis=1).reshape(c.nets, 1, *E.shape[1:])


def embed_back(c: Config, batch: Batch, gradients: dict[str, Array]) -> None:
    """Turn the gradient of E W_in, gradients["W_in"], into those of E and W_in."""
    device, W_in = batch.device, batch.embedded
    E = embedding(c, device, batch.weights, batch.used)
    d_E, d_W_in = device.xp.empty_like(E), device.xp.empty_like(W_in)
    unread = device.xp.empty((c.nets, d_W_in.shape[2]), dtype=c.dtype)
    lengths, d_out = device.xp.full(1, E.shape[2], dtype=np.int64), gradients["W_in"][:, None]
    device.kernels.affine_backward(E, lengths, W_in, d_out, d_E, d_W_in, unread)
    if batch.used is not ALL:
        gradients["E"][...] = 0
    gradients["E"][:, batch.used] = d_E.reshape(c.k, c.directions, *d_E.shape[2:]).sum(axis=1)
    gradients["W_in"] = d_W_in


def read_state(c: Config, name: str, value: Any, b: int, device: ComputeDevice) -> Array:
    """A copy of a state, or of a gradient of one, as (layers, nets, b, s); zeros for None."""
    if value is None:
        return device.xp.zeros((c.num_layers, c.nets, b, c.state), dtype=c.dtype)
    rows = (*c.lead, c.num_layers * c.directions, b)
    shapes = [(*rows, part.stop - part.start) for part in c.state_parts]
    if is_paired(c, value, name):
        parts = [
            read_floats(f"{name}[{i}]", as_numbers(f"{name}[{i}]", part, shape), c.dtype, None, device)
            for i, (part, shape) in enumerate(zip(value, shapes, strict=True))
        ]
        where = "gpu" if any(map(on_device, parts)) else "cpu"
        array = array_module(where).concatenate([move(part, where) for part in parts], axis=-1)
    else:
        also = f" or the tuple of {' and '.join(map(str, shapes))}" * (len(shapes) > 1)
        array = as_numbers(name, value, (*rows, c.state), also)
        array = read_floats(name, array, c.dtype, None, device)
    array = device.take(with_k(array, c.models is not None))
    by_layer = array.reshape(c.k, c.num_layers, c.directions, b, c.state).swapaxes(0, 1)
    return by_layer.copy().reshape(c.num_layers, c.nets, b, c.state)


def require_forward(c: Config, why: str) -> None:
    """Raise ValueError for a network that reads sequences from their end, which a job cannot; why says it."""
    if c.direction != "forward":
        raise ValueError(f"the network is {c.direction}; {why}, so give one that reads forwards")


def require_steps(c: Config, why: str) -> None:
    """`require_forward` for a job that computes single steps, for which no kernel normalises products."""
    if c.layer_norm:
        raise ValueError(
            f"the network has layer_norm={shown(c.layer_norm)}, which only whole sequences have kernels for; "
            "call predict with the state after the last step"
        )
    require_forward(c, why)


def is_paired(c: Config, state: Any, name: str = "state") -> bool:
    """Whether a state is the tuple of its parts, (h, c) of an LSTM, and not one array."""
    parts = len(c.state_parts)
    if not (isinstance(state, tuple) and len(state) == parts > 1):
        return False
    return as_array(f"{name}[0]", state[0]).ndim == len(c.lead) + 3


def steps_before(lengths: Array, t: int) -> Array:
    """(b, t) bool, where the lengths (b,) are: the steps before each."""
    return array_module(backend_of(lengths)).arange(t) < lengths[:, None]


def logical_and(a: Array, b: Array) -> Array:
    """a & b of boolean arrays, on the device if one of them is there."""
    where = "gpu" if on_device(a) or on_device(b) else "cpu"
    return move(a, where) & move(b, where)


def with_k(array: Array, has_k: bool) -> Array:
    """An array of k networks: a single one gets the axis k in front."""
    return array if has_k else array[None]


def public(c: Config, array: Array) -> Array:
    """An array (k, ...) as the user reads it: without the axis k of a single network."""
    return array if c.models else array[0]


def public_state(c: Config, array: Array) -> Array:
    """An array (layers, nets, b, ...) as users read it: (k, layers * directions, b, ...), or without k."""
    if c.directions > 1:
        layers, _, *rest = array.shape
        array = array.reshape(layers, c.k, c.directions, *rest).swapaxes(0, 1)
        return public(c, array.reshape(c.k, layers * c.directions, *rest))
    return public(c, array.swapaxes(0, 1))


def split_state(c: Config, state: Array) -> tuple[Array, ...]:
    """The parts of a state, (h, c) of an LSTM."""
    return tuple(state[..., part] for part in c.state_parts)


def as_given(c: Config, given: Any, state: Array) -> Any:
    """A public state in the form of one that was given: the tuple of its parts, or one array."""
    return split_state(c, state) if is_paired(c, given) else state


def to_caller(batch: Batch, array: Array) -> Array:
    """A result where x was given."""
    return array if batch.caller is None else move_checked("the result", array, batch.caller)


def all_to_caller(batch: Batch, arrays: dict[str, Array]) -> dict[str, Array]:
    """Results where x was given."""
    return {key: to_caller(batch, array) for key, array in arrays.items()}


def as_array(name: str, value: ArrayLike) -> Array:
    """An array of NumPy, or that of the device; ValueError if entries are masked or Python objects."""
    if type(value) is np.ndarray and value.dtype.kind != "O":
        return value  # without a look at what it is not: a step may be short
    require_unmasked(name, value)
    try:
        array = value if on_device(value) else np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:  # NumPy's own, and those of foreign arrays
        raise ValueError(f"{name} is not an array: {error}") from None
    if array.dtype.kind == "O":  # type: ignore[union-attr]
        raise ValueError(
            f"{name} has Python objects, dtype object; give numbers, as {name}.astype(np.float32) or "
            f"{name}.astype(np.int64) makes them"
        )
    return array  # type: ignore[return-value]


def as_numbers(name: str, value: ArrayLike, shape: tuple[int, ...], also: str = "") -> Array:
    """An array of real numbers of that shape.  also: what the message says could be given, too."""
    array = as_array(name, value)
    if array.dtype.kind not in "fiub" or array.shape != shape:
        raise ValueError(
            f"{name} has shape {array.shape} and dtype {array.dtype}; it must be numbers {shape}{also}"
        )
    return array


def fits_kernels(array: Array) -> bool:
    """Whether kernels can read and write it: C-contiguous, and a NumPy array also aligned and writable."""
    return array.flags.carray if isinstance(array, np.ndarray) else array.flags.c_contiguous


def contiguous(array: Array, dtype: np.dtype[Any]) -> Array:
    """The array as kernels are compiled for: native, aligned, C-contiguous, writable; copied if need be."""
    if not isinstance(array, np.ndarray):
        return array_module("gpu").ascontiguousarray(array, dtype)
    flags = array.flags
    if array.dtype != dtype or not (flags.c_contiguous and flags.aligned):
        if dtype.kind != "f":
            return array.astype(dtype, order="C")
        # The infinities that this makes are found afterwards.
        with uninterrupted(), np.errstate(over="ignore"):
            return array.astype(dtype, order="C")
    return array if flags.writeable else writable(array)


def read_floats(
    name: str,
    array: Array,
    dtype: np.dtype[Any],
    valid: Array | None,
    device: ComputeDevice,
    private: bool = False,
) -> Array:
    """Numbers (..., width) of a dtype; those at steps that are not valid (b, t) may be anything.

    They stay where they are, and are not copied unless need be or they are to be private.  Raises ValueError
    naming one that is not finite.
    """
    shared = private and array.dtype == dtype and array.flags.c_contiguous
    floats = array.copy() if shared else contiguous(array, dtype)
    if device.all_finite(floats):
        return floats
    xp = array_module(backend_of(floats))
    bad = ~xp.isfinite(floats)
    inside = None if valid is None else move(valid, backend_of(floats))[..., None]
    if inside is not None:
        bad &= inside
    if inside is None or bad.any():
        value, position = first(array, bad)
        within = f" in {dtype}" if np.isfinite(value) else ""
        raise ValueError(f"{name} holds {value} at {position}; it must be finite{within}")
    return xp.where(inside, floats, 0)  # not left to the kernels: 0 times NaN is NaN


def read_integers(name: str, array: Array, size: int, valid: Array | None) -> Array:
    """Integers (..., b, t) from 0 to size - 1, int32; those at steps that are not valid may be anything.

    They stay where they are.  They are copied before they are checked: kernels index with them, so nobody
    else may change them afterwards.  Raises ValueError naming one that is out of range.
    """
    array, most = array.copy(), largest(array, size - 1)
    if array.size and (array.min() < 0) | (array.max() > most):
        bad = out = (array < 0) | (array > most)
        if valid is not None:
            bad = out & move(valid, backend_of(array))
        if bad.any():
            value, position = first(array, bad)
            raise ValueError(f"{name} holds {value} at {position}; it must be from 0 to {size - 1}")
        array = array_module(backend_of(array)).where(out, 0, array)
    return contiguous(array, np.dtype(np.int32))


def read_lengths(value: ArrayLike, b: int, t: int, name: str = "lengths") -> Array:
    """Lengths (b,) int64, from 0 to t, where they were given."""
    array = as_array(name, value).copy()  # kernels index with them: see `read_integers`
    if array.dtype.kind not in "iu" or array.shape != (b,):
        raise ValueError(
            f"{name} has shape {array.shape} and dtype {array.dtype}; it must be {b} integers, one a row"
        )
    bad = (array < 0) | (array > largest(array, t))
    if bad.any():
        wrong, position = first(array, bad)
        raise ValueError(f"{name}{position} is {wrong}; it must be from 0 to t = {t}")
    return array.astype(np.int64)


def largest(array: Array, wanted: int) -> int:
    """The number wanted, or what an integer array of the device holds at most: CuPy need not compare more."""
    return min(wanted, np.iinfo(array.dtype).max) if on_device(array) else wanted


def first(array: Array, bad: Array) -> tuple[Any, str]:
    """The first of the bad elements of an array, and its index as text."""
    at = np.unravel_index(int(bad.argmax()), bad.shape)
    return move(array[at], "cpu")[()], f"[{', '.join(map(str, at))}]"
