"""Sequences labelled without saying when: connectionist temporal classification (CTC)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..backend import BackendChoice, backend_of, move, resolve
from ..threads import get_threads
from ..validation import as_int, require_memory
from .config import MAX_SIZE, Array
from .device import ComputeDevice, compute_device
from .validation import as_array, first, read_floats, read_lengths, steps_before

BLANK = 0  # the class of "no label" in training
END = -1  # what labels are filled up with


def ctc(
    outputs: ArrayLike,
    labels: ArrayLike,
    lengths: ArrayLike | None = None,
    label_lengths: ArrayLike | None = None,
    *,
    blank: int = BLANK,
    backend: BackendChoice | None = None,
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
    A label has 3 + 2 + 1 alignments with three steps, in which it lasts one, two or three of them:

    >>> losses, d_outputs = fastrec.ctc(np.zeros((1, 3, 2)), [[1]])
    >>> bool(np.isclose(losses[0], -np.log(6 / 2**3)))
    True
    """
    device = compute_device(resolve(backend, outputs, labels, lengths, label_lengths, domain="rnn"))
    y, ends, caller = read_outputs(device, outputs, lengths, blank)
    b, t, o = y.shape
    given = move(as_array("labels", labels), "cpu")
    if given.ndim != 2 or len(given) != b or (given.dtype.kind not in "iu" and given.size):
        raise ValueError(
            f"labels has shape {given.shape} and dtype {given.dtype}; give integers ({b}, u), each row "
            "filled up with -1"
        )
    counts = None
    if label_lengths is not None:
        counts = move(read_lengths(label_lengths, b, given.shape[1], "label_lengths"), "cpu")
    require_lattice_memory(device, b, t, given.shape[1])
    padded = device.take(read_labels("labels", given, o, blank, counts))
    xp = device.xp
    losses, d_outputs = xp.empty((1, b)), device.empty((1, b, t, o), y.dtype)
    device.kernels.ctc(blank, y[None], padded[None], ends, xp.ones(b), xp.ones(1), losses, d_outputs)
    return move(losses[0], caller), move(d_outputs[0], caller)


def ctc_decode(
    outputs: ArrayLike,
    lengths: ArrayLike | None = None,
    *,
    width: int = 1,
    n_best: int | None = None,
    blank: int = BLANK,
    backend: BackendChoice | None = None,
) -> tuple[Array, Array, Array]:
    """Find likely labels of sequences from the outputs of a network that was trained with the loss "ctc".

    With width=1 they are those of the likeliest class at each step. Otherwise prefix beam search looks for
    the labels whose alignments together are the likeliest: after each step it keeps the `width` likeliest
    beginnings (Hannun et al., arXiv:1408.2873). If all are kept, the result is exact.

    Parameters
    ----------
    outputs : array_like of shape (b, t, o)
        As for `ctc`.
    lengths : array_like of int of shape (b,), optional
        As for `ctc`.
    width : int, default 1
        Beginnings of labels that are kept.
    n_best : int, optional
        Return so many labels of each row, the best first, at most `width`; by default only the best.
    blank : int, default 0
        The class that is no label.
    backend : str, optional
        As for `RNN`.

    Returns
    -------
    labels : ndarray of shape (b, most) or (b, n_best, most)
        int32, each row filled up with -1 to the longest, at least one.
    label_lengths : ndarray of shape (b,) or (b, n_best)
        int64.
    scores : ndarray of shape (b,) or (b, n_best)
        float64, logarithms: with width=1 of the probability of the one alignment, else of that of the labels
        by the alignments that were kept, at most what `ctc` says. Equal scores come in the order in which
        they were found. Where a row has fewer labels than n_best, the others are empty and have -inf.

    Raises
    ------
    ValueError
        For invalid arguments.

    Examples
    --------
    Two steps whose likeliest class is blank, while a label in one of them is likelier than none:

    >>> outputs = np.log([[[0.6, 0.4], [0.6, 0.4]]])
    >>> fastrec.ctc_decode(outputs)[1]
    array([0])
    >>> labels, label_lengths, scores = fastrec.ctc_decode(outputs, width=2, n_best=2)
    >>> labels.tolist(), np.exp(scores).round(2).tolist()
    ([[[1], [-1]]], [[0.64, 0.36]])
    """
    device = compute_device(resolve(backend, outputs, lengths, domain="rnn"))
    y, ends, caller = read_outputs(device, outputs, lengths, blank)
    width = as_int("width", width, 1, MAX_SIZE)
    n = 1 if n_best is None else as_int("n_best", n_best, 1, width)
    xp, (b, t, _) = device.xp, y.shape
    nbytes = rows_at_once(device, b) * width * (40 * t + 88) + b * n * (4 * t + 16)
    require_memory("the search", nbytes, backend=device.backend)
    if width == 1:
        labels, counts, scores = (array[:, None] for array in best_path(device, blank, y, ends))
    else:
        made = xp.empty((b, n, t), np.int32), xp.empty((b, n), np.int64), xp.empty((b, n))
        device.kernels.ctc_prefix_search(width, blank, y, ends, *made)
        labels, counts, scores = (move(array, "cpu") for array in made)
    padded = np.full((b, n, max(1, counts.max(initial=0))), END, np.int32)
    padded[..., :t] = labels[..., : padded.shape[2]]
    which = 0 if n_best is None else slice(None)
    best, best_lengths, best_scores = (move(array[:, which], caller) for array in (padded, counts, scores))
    return best, best_lengths, best_scores


def best_path(
    device: ComputeDevice, blank: int, y: Array, lengths: Array
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.float64]]:
    """The labels (b, t), their number and scores (b,) by the likeliest class of each step."""
    xp, (b, t, _) = device.xp, y.shape
    inside, classes = steps_before(lengths, t), y.argmax(axis=2).astype(np.int32)
    losses, unwanted = xp.empty((1, b)), xp.empty((1, b, t, 0), y.dtype)
    weights = inside.astype(np.float64)
    device.kernels.cross_entropy(y[None], classes[None], weights, xp.ones(1), losses, unwanted)
    path, kept = move(classes, "cpu"), move(inside & (classes != blank), "cpu")
    kept[:, 1:] &= path[:, 1:] != path[:, :-1]
    labels = np.full((b, t), END, np.int32)
    counts = kept.sum(axis=1)
    labels[steps_before(counts, t)] = path[kept]
    return labels, counts, -move(losses[0], "cpu")


def rows_at_once(device: ComputeDevice, b: int) -> int:
    """How many of b rows kernels have memory for at a time."""
    return min(b, get_threads()) if device.backend == "cpu" else b


def require_lattice_memory(device: ComputeDevice, b: int, t: int, u: int) -> None:
    """Raise ValueError unless the chances of all states of u labels at t steps fit."""
    # The gpu takes rows in turns.
    rows = 1 if device.backend == "gpu" else rows_at_once(device, b)
    require_memory("the alignment of labels", rows * t * (6 * u + 20) * 8, backend=device.backend)


def read_outputs(
    device: ComputeDevice, outputs: ArrayLike, lengths: ArrayLike | None, blank: int
) -> tuple[Array, Array, str]:
    """Check arguments of `ctc`; return outputs and lengths for kernels, and where outputs were given."""
    y = as_array("outputs", outputs)
    if y.ndim != 3 or y.dtype.kind not in "fiub" or not (y.shape[0] and y.shape[2]):
        raise ValueError(
            f"outputs has shape {y.shape} and dtype {y.dtype}; give numbers (b, t, o) of one row or more"
        )
    b, t, o = y.shape
    as_int("blank", blank, 0, o - 1)
    ends = np.full(b, t, np.int64) if lengths is None else read_lengths(lengths, b, t)
    dtype = np.dtype(np.float32 if y.dtype.kind == "f" and y.dtype.itemsize == 4 else np.float64)
    checked = read_floats("outputs", y, dtype, None if lengths is None else steps_before(ends, t), device)
    return device.take(checked), device.take(ends), backend_of(y)


def read_labels(
    name: str, labels: NDArray[Any], classes: int, blank: int, counts: Array | None = None
) -> NDArray[np.int32]:
    """Labels (..., u) int32, -1 after the end of each row: its first -1, or what counts (b,) says.

    Raises ValueError naming one that is no class, or blank.
    """
    if counts is None:
        inside = (labels == END).cumsum(axis=-1) == 0
    else:
        inside = steps_before(counts, labels.shape[-1])
    bad = inside & ((labels < 0) | (labels >= classes) | (labels == blank))
    if bad.any():
        value, position = first(labels, bad)
        raise ValueError(
            f"{name} holds {value} at {position}; labels are from 0 to {classes - 1}, but not the "
            f"blank {blank}"
        )
    # Unsigned labels know no -1: as a number of theirs it would be an index behind the classes.
    return np.ascontiguousarray(np.where(inside, labels.astype(np.int32), np.int32(END)))


def require_alignments(name: str, labels: NDArray[np.int32], lengths: NDArray[np.int64]) -> None:
    """Raise ValueError naming a row of labels (m, b, u) that takes more steps than lengths (b,) says."""
    repeats = (labels[..., 1:] == labels[..., :-1]) & (labels[..., 1:] >= 0)
    counts, repeated = (part.sum(axis=-1) for part in (labels >= 0, repeats))
    bad = counts + repeated > lengths
    if bad.any():
        at: Any = np.unravel_index(int(bad.argmax()), bad.shape)
        n, again, steps = (
            int(array[index]) for array, index in ((counts, at), (repeated, at), (lengths, at[1]))
        )
        raise ValueError(
            f"{name} has {n} labels in row {at[1]}, {again} of them equal to the one before, which takes "
            f"{n + again} steps, and the sequence has {steps}; give it more steps or leave it out"
        )
