"""One label per sequence (many to one): only the last step of each row counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..backend import array_module, backend_of, move
from ..validation import as_int
from .config import MAX_SIZE, Array
from .network import RNN, require_network
from .validation import as_array, read_lengths


def label_targets(
    labels: ArrayLike, lengths: ArrayLike, steps: int | None = None
) -> tuple[Array, NDArray[np.bool_]]:
    """Turn one label per sequence into targets and a mask for `fit`, `RNN.loss` and `RNN.loss_and_gradients`.

    Only the last step of each sequence counts (many to one). Use them with the same lengths.

    Parameters
    ----------
    labels : array_like of shape (n,) or (n, o)
        Integers for "cross_entropy", or numbers (n, o) for "mse".
    lengths : array_like of shape (n,)
        Steps of each sequence, integers from 1.
    steps : int, optional
        Steps t of the padded sequences; the default is the longest.

    Returns
    -------
    targets : ndarray of shape (n, t) or (n, t, o)
        The label at the last step of each row and 0 elsewhere; int32 for integers.
    mask : ndarray of shape (n, t)
        True at the last step of each row.

    Raises
    ------
    ValueError
        If the arguments do not go together.

    Examples
    --------
    >>> targets, mask = fastrec.label_targets([2, 1], lengths=[3, 1])
    >>> targets
    array([[0, 0, 2],
           [1, 0, 0]], dtype=int32)
    """
    array = move(as_array("labels", labels), "cpu")
    if not (
        (array.ndim == 1 and array.dtype.kind in "iu") or (array.ndim == 2 and array.dtype.kind in "fiub")
    ):
        raise ValueError(
            f"labels has shape {array.shape} and dtype {array.dtype}; give integers (n,) or numbers (n, o)"
        )
    if array.ndim == 1 and array.size and not (array.min() >= 0 and array.max() <= MAX_SIZE):
        odd = array[(array < 0) | (array > MAX_SIZE)][0]
        raise ValueError(f"labels holds {odd}; give integers from 0 to {MAX_SIZE}")
    longest = MAX_SIZE if steps is None else as_int("steps", steps, 1, MAX_SIZE)
    ends = read_ends(lengths, len(array), longest)
    shape = (len(array), int(ends.max(initial=1)) if steps is None else longest)
    last = np.arange(shape[0]), ends - 1
    targets = np.zeros((*shape, *array.shape[1:]), np.int32 if array.ndim == 1 else array.dtype)
    mask = np.zeros(shape, np.bool_)
    targets[last], mask[last] = array, True
    return targets, mask


def classify(
    rnn: RNN, x: ArrayLike, lengths: ArrayLike | None = None, *, tokens: bool | None = None
) -> tuple[Array, Array]:
    """Find the most probable label of each sequence, by the softmax of the outputs at its last step.

    Parameters
    ----------
    rnn : RNN
        One network, or k at once.
    x : array_like
        As in `RNN.forward`.
    lengths : array_like of shape (n,), optional
        Steps of each sequence, from 1; the default is all t.
    tokens : bool, optional
        As in `RNN.forward`.

    Returns
    -------
    labels : ndarray of shape (n,)
        int64, for k networks (k, n); CuPy's if x is.
    log_probabilities : ndarray of shape (n, o)
        Logarithms of the probabilities of all labels, in the dtype of the network, for k networks (k, n, o).

    Raises
    ------
    ValueError
        As `RNN.predict`.

    Examples
    --------
    >>> rnn = fastrec.RNN(4, 8, 3, seed=1)
    >>> labels, log_probabilities = fastrec.classify(rnn, np.arange(8).reshape(2, 4) % 4)
    >>> labels.shape, log_probabilities.shape
    ((2,), (2, 3))
    """
    require_network(rnn)
    if lengths is not None:
        ends = as_array("lengths", lengths)
        lengths = read_ends(ends, len(ends) if ends.ndim else 0, MAX_SIZE)
    outputs, _ = rnn.predict(x, lengths=lengths, tokens=tokens)
    if not outputs.shape[-2]:
        raise ValueError(f"x has no steps, shape {np.shape(x)}; the label is read from the last one")
    xp, n = array_module(backend_of(outputs)), outputs.shape[-3]
    if lengths is None:
        last = outputs[..., -1, :]
    else:
        last = outputs[..., xp.arange(n), move(lengths, backend_of(outputs)) - 1, :]
    shifted = last - last.max(axis=-1, keepdims=True)
    chances = shifted - xp.log(xp.exp(shifted).sum(axis=-1, keepdims=True))
    return chances.argmax(axis=-1), chances


def read_ends(lengths: ArrayLike, n: int, t: int) -> NDArray[np.int64]:
    """Check lengths (n,), none of which may be 0."""
    ends = move(read_lengths(lengths, n, t), "cpu")
    if (ends == 0).any():
        raise ValueError(f"lengths[{int(ends.argmin())}] is 0; a sequence without steps has no last one")
    return ends
