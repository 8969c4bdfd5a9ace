"""N-gram models, which know the last few symbols only: a measure for the memory of networks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..backend import move
from ..progress import progress_bar
from ..rnn.config import MAX_SIZE, Array
from ..rnn.validation import as_array, read_integers
from ..validation import as_int, require_memory

MAX_ORDER = 1000
ORDERS = range(1, 7)  # of the models that a network is compared with


class Level(NamedTuple):
    """The m-grams of a text, sorted; they are the contexts of the next level.

    keys: (grams,) int64, for each the number of its first m - 1 symbols among the grams below, times size,
    plus its last symbol. probability: (grams,) of its last symbol after the others, discounted. rest:
    (contexts,) the probability left for the level below, for each gram below; 1 if nothing followed it.
    """

    keys: NDArray[np.int64]
    probability: NDArray[np.float64]
    rest: NDArray[np.float64]

    def find(self, contexts: Array, tokens: Array, size: int) -> Array:
        """Return the numbers of grams, each a context and a symbol, -1 for those that are not in the text."""
        if not len(self.keys):
            return np.full(len(tokens), -1)
        wanted = contexts * size + tokens
        grams = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        return np.where((contexts >= 0) & (self.keys[grams] == wanted), grams, -1)


class NGramModel:
    """An n-gram model with modified Kneser-Ney smoothing: a measure for the memory of networks.

    It gives the probability of a symbol after the `order` - 1 before it. Probabilities of all orders are
    interpolated, each with three discounts from its counts of counts; below the highest order, counts are
    numbers of different symbols before (Chen & Goodman, Computer Speech and Language 13, 359, 1999, section
    4.1). The lowest order is interpolated with 1/size, so that no symbol has probability 0. Where the counts
    of counts give no discounts, they are 1/2, 1 and 3/2.

    Parameters
    ----------
    order : int
        Symbols of an n-gram, from 1, which ignores the context.
    size : int
        Number of symbols, which are the integers 0..size-1.

    Raises
    ------
    ValueError
        For invalid arguments, also of methods.

    Examples
    --------
    >>> model = fastrec.NGramModel(order=2, size=3).fit(np.arange(99) % 3)
    >>> model.predict([0]).round(3)
    array([0.015, 0.97 , 0.015])
    """

    def __init__(self, order: int, size: int) -> None:
        self.order: int = as_int("order", order, 1, MAX_ORDER)
        self.size: int = as_int("size", size, 1, MAX_SIZE)
        self._levels: list[Level] = []

    def __repr__(self) -> str:
        grams = [len(level.keys) for level in self._levels]
        return f"NGramModel(order={self.order}, size={self.size}{f', grams={grams}' * bool(grams)})"

    def fit(self, tokens: ArrayLike) -> NGramModel:
        """Count the n-grams of a text, which replace those counted before.

        Parameters
        ----------
        tokens : array_like of shape (n,)
            Integers from 0 to size - 1.

        Returns
        -------
        NGramModel
            The model itself.

        Raises
        ------
        ValueError
            If the text is empty, a token is out of range, or the counts would not fit into memory.
        """
        text = self._read("tokens", tokens)
        if not len(text):
            raise ValueError("tokens is empty; give a text to count")
        require_counts(self.order, len(text))
        keys: list[Array] = []
        ends: list[Array] = []  # of each gram, the number of that without its first symbol
        ids = np.zeros(len(text) + 1, np.int64)  # of the empty grams
        for _ in range(self.order):
            # The gram that ends here is the one that ended a symbol before, and this symbol.
            pairs = ids[:-1] * self.size + text[len(text) - len(ids) + 1 :]
            grams, first, longer = np.unique(pairs, return_index=True, return_inverse=True)
            keys.append(grams)
            ends.append(ids[1:][first])
            ids = longer
        counts = [np.bincount(b, minlength=len(k)) for k, b in zip(keys, ends[1:], strict=False)]
        counts.append(np.bincount(ids, minlength=len(keys[-1])))  # how often the longest are there
        contexts = [1, *map(len, keys)]
        self._levels = [smoothed(*args, self.size) for args in zip(keys, counts, contexts[:-1], strict=True)]
        return self

    def log_chances(self, tokens: ArrayLike) -> NDArray[np.float64]:
        """Return the logarithm of the probability of each token of a text, given those before it.

        Parameters
        ----------
        tokens : array_like of shape (n,)
            Integers from 0 to size - 1.

        Returns
        -------
        ndarray of shape (n,)
            Natural logarithms, float64.

        Raises
        ------
        ValueError
            If a token is out of range, and before `fit`.
        """
        text = self._read("tokens", tokens)
        return np.log(self._probabilities(self._contexts(text)[:, :-1], text))

    def score(self, tokens: ArrayLike) -> float:
        """Return the cross entropy of a text, comparable to the loss of a network.

        Parameters
        ----------
        tokens : array_like of shape (n,)
            Integers from 0 to size - 1.

        Returns
        -------
        float
            Nats per token.

        Raises
        ------
        ValueError
            If the text is empty or a token is out of range, and before `fit`.
        """
        if not len(logarithms := self.log_chances(tokens)):
            raise ValueError("tokens is empty; give a text to score")
        return float(-logarithms.mean())

    def predict(self, context: ArrayLike) -> NDArray[np.float64]:
        """Return the probabilities of all symbols after a context.

        Parameters
        ----------
        context : array_like of shape (n,)
            Integers from 0 to size - 1, of which the last order - 1 matter.

        Returns
        -------
        ndarray of shape (size,)
            Probabilities, float64.

        Raises
        ------
        ValueError
            If a token is out of range, and before `fit`.
        """
        text = self._read("context", context)[-self.order :]
        last = self._contexts(text)[:, -1:]
        return self._probabilities(np.repeat(last, self.size, axis=1), np.arange(self.size))

    def _read(self, name: str, tokens: ArrayLike) -> Array:
        array = move(as_array(name, tokens), "cpu")
        if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
            raise ValueError(
                f"{name} has shape {array.shape} and dtype {array.dtype}; it must be integers (n,)"
            )
        return (read_integers(name, array, self.size, None) if array.size else array).astype(np.int64)

    def _contexts(self, text: Array) -> Array:
        """Return the number (order, n + 1) of the m - 1 symbols before each position, -1 if unknown."""
        if not self._levels:
            raise ValueError("nothing has been counted; call fit first")
        contexts = np.full((self.order, len(text) + 1), -1)
        contexts[0] = 0
        for level, above, below in zip(self._levels, contexts[1:], contexts, strict=False):
            above[1:] = level.find(below[:-1], text, self.size)
        return contexts

    def _probabilities(self, contexts: Array, tokens: Array) -> Array:
        probabilities = np.full(len(tokens), 1 / self.size)
        for level, context in zip(self._levels, contexts, strict=True):
            grams = level.find(context, tokens, self.size)
            known = context >= 0
            probabilities[known] *= level.rest[context[known]]
            seen = grams >= 0
            probabilities[seen] += level.probability[grams[seen]]
        return probabilities


def require_counts(order: int, symbols: int, cure: str = "") -> None:
    """Raise ValueError if the counts of a text of so many symbols do not fit into memory."""
    require_memory("counting n-grams", 27 * order * symbols, cure)  # as measured


def smoothed(keys: Array, counts: Array, contexts: int, size: int) -> Level:
    """Make a level from its grams (grams,), their counts, and the number of grams below."""
    discount = discounts(counts)[np.minimum(counts, 3)]
    total = np.bincount(keys // size, counts, contexts)
    subtracted = np.bincount(keys // size, discount, contexts)
    rest = np.divide(subtracted, total, out=np.ones(contexts), where=total > 0)
    divisor = total[keys // size]
    return Level(
        keys, np.divide(counts - discount, divisor, out=np.zeros(len(keys)), where=divisor > 0), rest
    )


def discounts(counts: Array) -> Array:
    """Return what is subtracted from counts of 0, 1, 2, and 3 or more: equation 26 of Chen & Goodman."""
    n1, n2, n3, n4 = (float(np.count_nonzero(counts == count)) for count in range(1, 5))
    if n1 and n2 and n3:
        y = n1 / (n1 + 2 * n2)
        estimates = np.array([0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3])
        if (estimates[1:] > 0).all():
            return estimates
    return np.array([0, 0.5, 1, 1.5])


def ngram_table(
    train: ArrayLike, held: ArrayLike, size: int, orders: Iterable[int] = ORDERS
) -> dict[int, float]:
    """Score a held-out text with n-gram models of several orders, fitted to another text.

    Parameters
    ----------
    train : array_like of shape (n,)
        The text to count, integers from 0 to size - 1.
    held : array_like of shape (m,)
        The text to score.
    size : int
        Number of symbols.
    orders : iterable of int, default range(1, 7)
        Orders of the models.

    Returns
    -------
    dict of int to float
        Nats per token, by order.

    Raises
    ------
    ValueError
        As `NGramModel`.

    Examples
    --------
    >>> tokens = np.arange(99) % 3
    >>> table = fastrec.ngram_table(tokens[:60], tokens[60:], 3, orders=[1, 2])
    >>> bool(table[2] < table[1])
    True
    """
    orders, losses = tuple(orders), dict[int, float]()
    with progress_bar("comparing with n-grams", len(orders)) as advance:
        for order in orders:
            losses[order] = NGramModel(order, size).fit(train).score(held)
            advance(1, f"comparing with {order}-grams")
    return losses
