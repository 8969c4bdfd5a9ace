"""The symbols of a text, and their tokens."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Literal, get_args
from unicodedata import combining, normalize

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..backend import move
from ..messages import shown
from ..rnn.config import MAX_SIZE, Array
from ..rnn.validation import as_array, first
from ..streams import Seed, generator
from ..validation import as_choice, as_int
from .reading import Text, text_of

Unit = Literal["character", "word"]
Words = Literal["uax29", "plain"]

UNITS = ("character", "word")
UNKNOWN = {"character": "\N{REPLACEMENT CHARACTER}", "word": "<unk>"}  # no piece of a text is "<unk>"
PLAIN = re.compile(r"\w+|\s|[^\w\s]")  # every character is in one of the three
LARGEST = np.finfo(np.float32).max  # of the numbers of a vector
CODES = ("utf-32-le", "surrogatepass")  # four bytes a character, lone surrogates as they are


@dataclass(frozen=True, repr=False)
class Vocabulary:
    """Symbols that stand for the integers 0, 1, ..., the tokens of a network.

    ``len()`` is their number.

    Parameters
    ----------
    symbols : sequence of str
        Distinct strings, of length 1 for "character".
    unit : {"character", "word"}, default "character"
        What a text is split into. A character is a code point. A word is what stands between two word
        boundaries, which may also be a space or a punctuation mark: the pieces together are the text.
    unknown : int, optional
        Token of all pieces that are not among the symbols, which are refused by default.
    words : {"uax29", "plain"}, default "uax29"
        Where boundaries of words are: as Unicode defines them (UAX #29), so that accents and vowel signs
        belong to their letters and "don't" is a word, but also between two spaces; or, as in version 0.1.0,
        around runs of letters, digits and "_" and around each other character. Models of that version keep
        "plain".

    Raises
    ------
    ValueError
        For invalid arguments.

    Examples
    --------
    >>> vocabulary = fastrec.Vocabulary.of("a rose is a rose", "word")
    >>> vocabulary.symbols
    (' ', 'a', 'is', 'rose')
    >>> vocabulary.encode("is a rose")
    array([2, 0, 1, 0, 3], dtype=int32)
    >>> vocabulary.decode([3, 0, 2])
    'rose is'
    """

    symbols: tuple[str, ...]
    unit: Unit = "character"
    unknown: int | None = None
    words: Words = "uax29"

    def __post_init__(self) -> None:
        as_choice("unit", self.unit, UNITS)
        as_choice("words", self.words, get_args(Words))
        if self.unit == "character":  # where it says nothing
            object.__setattr__(self, "words", "uax29")
        symbols = tuple(self.symbols) if np.iterable(self.symbols) else ()
        if not symbols:
            raise ValueError(f"symbols is {shown(self.symbols)}; give at least one string")
        for symbol in symbols:
            if not (isinstance(symbol, str) and symbol and (self.unit == "word" or len(symbol) == 1)):
                wanted = "be one character" if self.unit == "character" else "be a string, not empty"
                raise ValueError(f'symbols holds {shown(symbol)}; with unit="{self.unit}" each must {wanted}')
        if len(set(symbols)) < len(symbols):
            twice = next(symbol for symbol, count in Counter(symbols).items() if count > 1)
            raise ValueError(f"symbols holds {shown(twice)} more than once; they must be distinct")
        object.__setattr__(self, "symbols", symbols)
        if self.unknown is not None:
            object.__setattr__(self, "unknown", as_int("unknown", self.unknown, 0, len(symbols) - 1))

    def __setstate__(self, state: dict[str, Any]) -> None:
        old: Words = "plain" if state["unit"] == "word" else "uax29"  # pickles of version 0.1.0 do not say it
        vars(self).update({"words": old} | state)

    @classmethod
    def of(cls, text: Text, unit: Unit = "character", size: int | None = None) -> Vocabulary:
        """Make the vocabulary of a text, sorted by code points.

        Parameters
        ----------
        text : str or pathlib.Path
            The text, or the path of a file that holds it, in UTF-8.
        unit : {"character", "word"}, default "character"
            What it is split into.
        size : int, optional
            Largest number of symbols: the most frequent ones, of equally frequent ones the first in the
            order, and a symbol for all others at the end. By default all symbols are kept, and others are
            refused.

        Returns
        -------
        Vocabulary
            The symbols.

        Raises
        ------
        ValueError
            If unit or size is invalid, or the text is empty and size not given.
        """
        as_choice("unit", unit, UNITS)
        text = text_of("text", text)
        counts = Counter(text if unit == "character" else split(text))
        if size is None:
            if not text:
                raise ValueError("text is empty and has no symbols; give one, or a size")
            return cls(tuple(sorted(counts)), unit)
        return cls._most_frequent(counts, unit, as_int("size", size, 1, MAX_SIZE))

    @classmethod
    def _most_frequent(cls, counts: Counter[str], unit: Unit, size: int) -> Vocabulary:
        """Make a vocabulary of pieces that are counted, with a symbol for those that are not kept."""
        unknown = UNKNOWN[unit]
        counts.pop(unknown, None)
        kept = sorted(sorted(counts), key=lambda piece: -counts[piece])[: size - 1]
        return cls((*sorted(kept), unknown), unit, len(kept))

    def encode(self, text: str) -> NDArray[np.int32]:
        """Return the tokens of a text.

        Parameters
        ----------
        text : str
            The text.

        Returns
        -------
        ndarray of shape (n,)
            Tokens, int32.

        Raises
        ------
        ValueError
            If a piece is not among the symbols and there is no unknown symbol; the message names five of
            them.
        """
        if self.unit == "character":
            tokens = self._tokens.take(points(require_str(text)), mode="clip")
        else:
            tokens = self._tokens_of(split(require_str(text), self.words))
        if self.unknown is None and tokens.size and tokens.min() < 0:
            raise ValueError(
                f"text holds {self._unknown_in(text)}, not in this vocabulary of {len(self)} symbols; "
                "leave them out, or make it with an unknown symbol (size=...)"
            )
        return tokens

    def _unknown_in(self, text: str) -> str:
        """Return five pieces of a text that have no token, in quotes; "" if all have one."""
        if self.unknown is not None:
            return ""
        pieces = sorted({*self._pieces(text)} - {*self.symbols})
        more = len(pieces) - 5
        return ", ".join(map(repr, pieces[:5])) + f" and {more} more" * (more > 0)

    def _nearest(self, text: str) -> str:
        """Return a text in which unknown pieces lose accents, change case or are left out."""

        def known(piece: str) -> str:
            plain = "".join(c for c in normalize("NFKD", piece) if not combining(c))
            for each in (piece, plain, plain.lower(), plain.upper(), plain.capitalize()):
                if self._unknown_in(each) == "":
                    return each
            return ""

        return "".join(map(known, self._pieces(text)))

    def _pieces(self, text: str) -> Sequence[str]:
        return text if self.unit == "character" else split(text, self.words)

    def decode(self, tokens: ArrayLike) -> str:
        """Return the text of tokens, the inverse of `encode` except for unknown symbols.

        Parameters
        ----------
        tokens : array_like of shape (n,)
            Integers from 0 to len() - 1.

        Returns
        -------
        str
            The text.

        Raises
        ------
        ValueError
            If the array has another shape or dtype, or an integer is out of range.
        """
        array: Array = move(as_array("tokens", tokens), "cpu")
        if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
            raise ValueError(
                f"tokens has shape {array.shape} and dtype {array.dtype}; give integers (n,), of one text"
            )
        if array.size and (bad := (array < 0) | (array >= len(self))).any():
            value, position = first(array, bad)
            raise ValueError(f"tokens holds {value} at {position}; it must be from 0 to {len(self) - 1}")
        if self.unit == "character":
            return self._points[array.astype(np.int64)].tobytes().decode(*CODES)
        return "".join(self.symbols[token] for token in array.tolist())

    def embedding(self, vectors: Any, seed: Seed = None) -> NDArray[np.float64]:
        """Return a vector for each symbol, as `RNN` takes them for its embedding.

        Parameters
        ----------
        vectors : mapping of str to array_like of shape (e,)
            Vectors of symbols and perhaps of others: a dict, or another object with ``in`` and ``[]``, such
            as the KeyedVectors of gensim. Symbols that have none get normal numbers, with the mean square of
            those that are found.
        seed : int, numpy.random.Generator or None
            Of these numbers, as in `RNN`.

        Returns
        -------
        ndarray of shape (n, e)
            float64.

        Raises
        ------
        ValueError
            Unless some symbols have vectors, all of the same size and of finite numbers.

        Examples
        --------
        >>> vocabulary = fastrec.Vocabulary(("cat", "dog", "of"), "word")
        >>> vocabulary.embedding({"cat": [1, 2], "dog": [1, 3]}, seed=1)[:2]
        array([[1., 2.],
               [1., 3.]])
        """
        require_vectors("vectors", vectors)
        found = {
            token: as_array(f"vectors[{symbol!r}]", vectors[symbol])
            for token, symbol in enumerate(self.symbols)
            if symbol in vectors
        }
        if not found:
            raise ValueError(f"vectors has none of the {len(self)} symbols; give vectors of symbols")
        shape = next(iter(found.values())).shape
        for token, vector in found.items():
            usable = vector.shape == shape and vector.ndim == 1 and vector.dtype.kind in "fiu"
            if not (usable and vector.size and (np.abs(vector) <= LARGEST).all()):
                raise ValueError(
                    f"vectors[{self.symbols[token]!r}] is {shown(vectors[self.symbols[token]])}; all vectors "
                    "must be of the same size, and their numbers finite in float32"
                )
        known = np.array(list(found.values()), np.float64)
        random = generator(seed)
        table = random.standard_normal((len(self), *shape)) * np.sqrt(np.mean(known**2))
        table[list(found)] = known
        return table

    def _tokens_of(self, pieces: Iterable[str]) -> NDArray[np.int32]:
        """Return the tokens of pieces, -1 for those that have none."""
        unknown = -1 if self.unknown is None else self.unknown
        return np.fromiter((self._numbers.get(piece, unknown) for piece in pieces), np.int32)

    def __len__(self) -> int:
        return len(self.symbols)

    def __repr__(self) -> str:
        shown = repr("".join(self.symbols) if self.unit == "character" else list(self.symbols[:8]))
        if len(shown) > 60:
            shown = f"{shown[:57]}..."
        elif self.unit == "word" and len(self) > 8:
            shown = f"{shown[:-1]}, ...]"
        unknown = "" if self.unknown is None else f", unknown={self.unknown}"
        unknown += ', words="plain"' * (self.words == "plain")
        return f'Vocabulary({shown}, unit="{self.unit}"{unknown}, size={len(self)})'

    @cached_property
    def _points(self) -> NDArray[np.uint32]:
        """The code points of the symbols."""
        return points("".join(self.symbols))

    @cached_property
    def _tokens(self) -> NDArray[np.int32]:
        """The token of every code point up to the largest that is a symbol; the last is that of others."""
        unknown = -1 if self.unknown is None else self.unknown
        table = np.full(int(self._points.max()) + 2, unknown, np.int32)
        table[self._points] = np.arange(len(self))
        return table

    @cached_property
    def _numbers(self) -> dict[str, int]:
        """The token of every symbol."""
        return {symbol: token for token, symbol in enumerate(self.symbols)}


def require_vectors(name: str, vectors: Any) -> None:
    """Raise ValueError unless an argument maps symbols to vectors."""
    mapping = hasattr(vectors, "__contains__") and hasattr(vectors, "__getitem__")
    if not mapping or isinstance(vectors, (str, Sequence, np.ndarray)):
        raise ValueError(f"{name} is {shown(vectors)}; give a mapping of symbols to vectors, such as a dict")


def split(text: str, words: Words = "uax29") -> list[str]:
    """Return the words of a text and what is between them."""
    if words == "plain":
        return PLAIN.findall(text)
    return [piece for piece in boundary().split(text) if piece]


@cache
def boundary() -> Any:
    """Return the pattern of the boundaries of words, and of those in runs of spaces."""
    import regex

    return regex.compile(r"(?V1w)\b|(?<=\s)(?=\s)")


def require_str(text: str) -> str:
    """Return the text; ValueError if it is not a str."""
    if not isinstance(text, str):
        raise ValueError(f"text is a {type(text).__name__}; give a str")
    return text


def points(text: str) -> NDArray[np.uint32]:
    """Return the code points (n,) of a text, read-only."""
    return np.frombuffer(text.encode(*CODES), "<u4").astype(np.uint32, copy=False)
