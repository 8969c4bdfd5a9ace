"""Inputs and targets moved in time: what models without memory see, and answers that may come later."""

from __future__ import annotations

from collections.abc import Sequence

from numpy.typing import ArrayLike

from ..backend import array_module, backend_of, move
from ..validation import as_int, require_memory
from .config import MAX_SIZE, Array
from .validation import as_array


def delayed(x: ArrayLike, taps: int | Sequence[int]) -> Array:
    """Put the inputs of earlier steps beside those of each step, as models without memory need them.

    Such models, as linear autoregression or a network that carries no state, see no other past than this.

    Parameters
    ----------
    x : array_like of shape (b, t, i)
        Numbers, for k networks perhaps (k, b, t, i). What follows the end of a row stays behind it.
    taps : int or sequence of int
        Steps by which inputs are delayed, from 0; a number stands for 0, 1, ..., taps - 1.

    Returns
    -------
    ndarray of shape (b, t, taps * i)
        In the dtype of x, where x is. At step t it holds the i inputs of step t - d for each d in `taps`, in
        their order, and zeros for steps before the first.

    Raises
    ------
    ValueError
        For invalid arguments.

    Examples
    --------
    >>> x = np.arange(1, 5).reshape(1, 4, 1)
    >>> fastrec.delayed(x, 3)[0]
    array([[1, 0, 0],
           [2, 1, 0],
           [3, 2, 1],
           [4, 3, 2]])
    >>> fastrec.delayed(x, [2])[0, :, 0]
    array([0, 0, 1, 2])
    """
    array = as_array("x", x)
    if array.dtype.kind not in "fiub" or array.ndim not in (3, 4):
        raise ValueError(
            f"x has shape {array.shape} and dtype {array.dtype}; give numbers (b, t, i), of tokens one-hot"
        )
    delays = read_taps(taps)
    where = backend_of(array)
    require_memory("the delayed inputs", 2 * array.nbytes * len(delays), backend=where)
    return array_module(where).concatenate([later(array, steps, axis=-2) for steps in delays], axis=-1)


def delay_targets(targets: ArrayLike, steps: int, mask: ArrayLike | None = None) -> tuple[Array, Array]:
    """Move targets later, so that a network may see more of the input before it answers.

    Parameters
    ----------
    targets : array_like of shape (b, t) or (b, t, o)
        Integers (b, t) of classes, or numbers (b, t, o), which are no integers; for k networks perhaps
        (k, b, t) or (k, b, t, o).
    steps : int
        Steps by which they come later, from 0 to t - 1. The last ones of each row are lost: add steps to the
        input to keep them.
    mask : array_like of bool of shape (b, t), optional
        Steps whose targets count, which moves along.

    Returns
    -------
    targets : ndarray of the shape and dtype that were given
        At step t those of step t - steps, and zeros before.
    mask : ndarray of bool of shape (b, t)
        Steps that count, not those before the first target, for `fit`, `RNN.loss` and
        `RNN.loss_and_gradients`.

    Raises
    ------
    ValueError
        For invalid arguments.

    Examples
    --------
    >>> targets, mask = fastrec.delay_targets([[3, 1, 2]], steps=1)
    >>> targets, mask
    (array([[0, 3, 1]]), array([[False,  True,  True]]))
    """
    array = as_array("targets", targets)
    axis = -1 if array.dtype.kind in "iu" else -2
    if array.dtype.kind not in "fiub" or array.ndim not in (1 - axis, 2 - axis):
        raise ValueError(
            f"targets has shape {array.shape} and dtype {array.dtype}; give integers (b, t), or numbers "
            "(b, t, o) that are floats or bool"
        )
    b, t = array.shape[axis - 1 :][:2]
    steps = as_int("steps", steps, 0, max(0, t - 1))
    where = backend_of(array if mask is None else mask)
    counted = array_module(where).ones((b, t), bool) if mask is None else as_array("mask", mask)
    if counted.dtype != bool or counted.shape != (b, t):
        form = f"shape {counted.shape} and dtype {counted.dtype}"
        raise ValueError(f"mask has {form}; it must be bool {(b, t)}, True where one of the targets counts")
    return later(array, steps, axis), later(counted, steps, axis=-1)


def later(array: Array, steps: int, axis: int) -> Array:
    """A copy in native byte order, some steps later along an axis, -1 or -2, with zeros before the first."""
    made = array_module(backend_of(array)).zeros(array.shape, array.dtype.newbyteorder("="))
    kept = max(0, array.shape[axis] - steps)
    made.swapaxes(axis, -1)[..., steps:] = array.swapaxes(axis, -1)[..., :kept]
    return made


def read_taps(taps: int | Sequence[int]) -> Sequence[int]:
    """Check the argument `taps` of `delayed`; return the delays."""
    if as_array("taps", taps).ndim == 0:
        return range(as_int("taps", taps, 1, MAX_SIZE))
    delays = [as_int(f"taps[{j}]", one, 0, MAX_SIZE) for j, one in enumerate(move(taps, "cpu"))]
    if not delays:
        raise ValueError("taps is empty; give at least one delay")
    return delays
