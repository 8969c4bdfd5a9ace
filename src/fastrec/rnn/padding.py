"""Sequences of different lengths as one array, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ..backend import move
from ..kernels.interruption import uninterrupted
from ..messages import shown
from ..validation import require_memory
from .config import Array
from .validation import as_array, read_lengths, steps_before


def pad_sequences(
    sequences: Sequence[ArrayLike], value: float = 0, dtype: DTypeLike | None = None
) -> tuple[Array, NDArray[np.int64]]:
    """Put n sequences of different lengths into one array, each followed by `value`.

    Parameters
    ----------
    sequences : sequence of array_like
        Integers of shape (t,), such as tokens and targets, or numbers of shape (t, i), with any t, also 0.
    value : float, default 0
        What follows a sequence that is shorter than the longest.
    dtype : dtype, optional
        The default is int32 for integers, else the one that holds them all.

    Returns
    -------
    array : ndarray of shape (n, longest) or (n, longest, i)
        The padded sequences, of at least one step.
    lengths : ndarray of shape (n,)
        Their lengths, int64, as `RNN` takes them.

    Raises
    ------
    ValueError
        If the sequences do not go together, or the dtype cannot represent them.

    Examples
    --------
    >>> array, lengths = fastrec.pad_sequences([[1, 2, 3], [], [4]])
    >>> array
    array([[1, 2, 3],
           [0, 0, 0],
           [4, 0, 0]], dtype=int32)
    >>> lengths
    array([3, 0, 1])
    """
    parts = [move(as_array(f"sequences[{j}]", one), "cpu") for j, one in enumerate(sequences)]
    if not parts:
        raise ValueError("sequences is empty; give at least one sequence")
    filled = [part for part in parts if part.shape != (0,)]  # [] goes with all
    tail = filled[0].shape[1:] if filled else ()
    for j, part in enumerate(parts):
        if part.shape != (0,) and (part.dtype.kind not in "fiub" or part.shape != (*part.shape[:1], *tail)):
            wanted = f"numbers (t, {', '.join(map(str, tail))})" if tail else "numbers (t,)"
            raise ValueError(
                f"sequences[{j}] has shape {part.shape} and dtype {part.dtype}; "
                f"all must be {wanted} as the first that is not empty"
            )
    if filled and not filled[0].ndim:
        raise ValueError(f"sequences holds {filled[0]}; give sequences of numbers, not numbers")
    common = np.result_type(*filled) if filled else np.dtype(np.int32)
    try:
        kind = np.dtype(dtype if dtype is not None else np.int32 if common.kind in "iu" else common)
    except TypeError:
        kind = np.dtype(object)
    if kind.kind not in "fiub":
        raise ValueError(f"dtype is {shown(dtype)}; it must be one of numbers")
    filling = as_dtype("value", np.asarray(value), kind)
    lengths = np.array([len(part) for part in parts], np.int64)
    shape = (len(parts), max(1, int(lengths.max())), *tail)
    require_memory("the padded array", int(np.prod(shape, dtype=np.float64)) * kind.itemsize)
    array = np.full(shape, filling, kind)
    if filled:
        array[steps_before(lengths, shape[1])] = as_dtype("sequences", np.concatenate(filled), kind)
    return array, lengths


def as_dtype(name: str, values: Array, kind: np.dtype[Any]) -> Array:
    """Convert numbers to a dtype; ValueError if it is one of integers that cannot represent them."""
    with uninterrupted(), np.errstate(over="ignore", invalid="ignore"):
        converted = values.astype(kind) if values.dtype.kind in "fiub" else None
    if converted is None or (kind.kind in "iub" and not np.array_equal(converted, values)):
        raise ValueError(f"{name} holds what {kind} does not; give another dtype")
    return converted


def unpad(array: ArrayLike, lengths: ArrayLike) -> list[Array]:
    """Return the sequences that `pad_sequences` put into one array.

    Parameters
    ----------
    array : array_like of shape (n, t, ...)
        Padded sequences, also outputs (n, t, o).
    lengths : array_like of shape (n,)
        Integers from 0 to t.

    Returns
    -------
    list of ndarray
        Views of the array without the padding.

    Raises
    ------
    ValueError
        If the shapes do not fit or a length is out of range.

    Examples
    --------
    >>> fastrec.unpad([[1, 2, 3], [4, 0, 0]], [3, 1])
    [array([1, 2, 3]), array([4])]
    """
    padded = as_array("array", array)
    if padded.ndim < 2:
        raise ValueError(f"array has shape {padded.shape}; give padded sequences (n, t, ...)")
    ends = move(read_lengths(lengths, *padded.shape[:2]), "cpu").tolist()
    return [row[:end] for row, end in zip(padded, ends, strict=True)]
