"""Sequences labelled without saying when: connectionist temporal classification (CTC)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..backend import array_module, backend_of, move, resolve
from ..validation import as_int
from .config import Array
from .device import ComputeDevice, compute_device
from .validation import as_array, contiguous, first, read_floats, read_lengths, steps_before

BLANK = 0  # the class of "no label" in training


def ctc(
    outputs: ArrayLike,
    labels: ArrayLike,
    lengths: ArrayLike | None = None,
    label_lengths: ArrayLike | None = None,
    *,
    blank: int = BLANK,
    backend: str | None = None,
) -> tuple[Array, Array]:
    """Compute how improbable the labels of sequences are, wherever they are, and its gradient.

    An alignment names a class at each step. It has the labels that remain when runs of equal classes become
    one and then blanks are left out: a blank separates two equal labels. The probability of labels is the sum
    over all their alignments of the product of the softmax of the outputs at each step (Graves et al., ICML
    2006). The loss is minus its logarithm.

    Parameters
    ----------
    outputs : array_like of shape (b, t, o)
        Finite numbers before the softmax. What they hold after the end of a row does not matter.
    labels : array_like of int of shape (b, u)
        Classes from 0 to o - 1 other than blank. Rows end at their first -1, as `pad_sequences` fills them up
        with value=-1, unless `label_lengths` says where.
    lengths : array_like of int of shape (b,), optional
        Steps of each row, from 0 to t; the default is t.
    label_lengths : array_like of int of shape (b,), optional
        Labels of each row, from 0 to u.
    blank : int, default 0
        The class that is no label.
    backend : str, optional
        As for `RNN`.

    Returns
    -------
    losses : ndarray of shape (b,)
        float64, in nats. Infinite if labels have no alignment: each takes a step, and one more where it is
        equal to the one before it.
    d_outputs : ndarray of shape (b, t, o)
        The gradient of the sum of the losses, in the dtype of the outputs if that is float32, else float64.
        It is 0 after the end of a row, and in rows whose loss is infinite.

    Raises
    ------
    ValueError
        For invalid arguments.

    Examples
    --------
    Two of three steps may be the label, which has 1 + 2 + 3 alignments:

    >>> losses, d_outputs = fastrec.ctc(np.zeros((1, 3, 2)), [[1]])
    >>> bool(np.isclose(losses[0], -np.log(6 / 2**3)))
    True
    """
    device = compute_device(resolve(backend, outputs, labels, lengths, label_lengths, domain="rnn"))
    y, ends, caller = read_outputs(device, outputs, lengths, blank)
    b, t, o = y.shape
    given = as_array("labels", labels)
    if given.ndim != 2 or len(given) != b or (given.dtype.kind not in "iu" and given.size):
        raise ValueError(
            f"labels has shape {given.shape} and dtype {given.dtype}; give integers ({b}, u), each row "
            "filled up with -1"
        )
    counts = (
        None if label_lengths is None else read_lengths(label_lengths, b, given.shape[1], "label_lengths")
    )
    padded = device.take(read_labels("labels", given, o, blank, counts))
    xp = device.xp
    losses, d_outputs = xp.empty((1, b)), device.empty((1, b, t, o), y.dtype)
    device.kernels.ctc(blank, y[None], padded[None], ends, xp.ones(b), xp.ones(1), losses, d_outputs)
    return move(losses[0], caller), move(d_outputs[0], caller)


def read_outputs(
    device: ComputeDevice, outputs: ArrayLike, lengths: ArrayLike | None, blank: int
) -> tuple[Array, Array, str]:
    """Check arguments of `ctc`; return outputs and lengths for kernels, and where outputs were given."""
    y = as_array("outputs", outputs)
    if y.ndim != 3 or y.dtype.kind not in "fiub" or not y.shape[2]:
        raise ValueError(f"outputs has shape {y.shape} and dtype {y.dtype}; give numbers (b, t, o)")
    b, t, o = y.shape
    as_int("blank", blank, 0, o - 1)
    ends = np.full(b, t, np.int64) if lengths is None else read_lengths(lengths, b, t)
    dtype = np.dtype(np.float32 if y.dtype == np.float32 else np.float64)
    checked = read_floats("outputs", y, dtype, None if lengths is None else steps_before(ends, t), device)
    return device.take(checked), device.take(ends), backend_of(y)


def read_labels(name: str, labels: Array, classes: int, blank: int, counts: Array | None = None) -> Array:
    """Labels (..., u) int32, -1 after the end of each row: its first negative one, or what counts (b,) says.

    They stay where they are.  Raises ValueError naming one that is no class, or blank.
    """
    xp, u = array_module(backend_of(labels)), labels.shape[-1]
    if counts is None:
        inside = (labels < 0).cumsum(axis=-1) == 0
    else:
        inside = move(steps_before(counts, u), backend_of(labels))
    bad = inside & ((labels < 0) | (labels >= classes) | (labels == blank))
    if bad.any():
        value, position = first(labels, bad)
        raise ValueError(
            f"{name} holds {value} at {position}; labels are from 0 to {classes - 1}, but not the "
            f"blank {blank}"
        )
    return contiguous(xp.where(inside, labels, -1), np.dtype(np.int32))


def require_alignments(name: str, labels: Array, lengths: Array) -> None:
    """Raise ValueError naming a row of labels (m, b, u) that takes more steps than lengths (b,) says."""
    repeats = (labels[..., 1:] == labels[..., :-1]) & (labels[..., 1:] >= 0)
    counts, repeated = ((part.sum(axis=-1)) for part in (labels >= 0, repeats))
    ends = move(lengths, backend_of(labels))
    bad = counts + repeated > ends
    if bad.any():
        at: Any = np.unravel_index(int(bad.argmax()), bad.shape)
        n, again, steps = (
            int(array[index]) for array, index in ((counts, at), (repeated, at), (ends, at[1]))
        )
        raise ValueError(
            f"{name} has {n} labels in row {at[1]}, {again} of them equal to the one before, which takes "
            f"{n + again} steps, and the sequence has {steps}; give it more steps or leave it out"
        )
