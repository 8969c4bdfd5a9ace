"""What a state is: a stored pattern, the inverse of one, a mixture of three, or something else."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..backend import backend_of, move
from ..display import Column, Displayed, span
from ..validation import number
from .states import by_row

KINDS = np.array(["memory", "inverse", "mixture", "other"])


@dataclass(frozen=True, eq=False, repr=False)
class Identification(Displayed):
    """What states are.

    Arrays have the shape of the states without the last axis, as those of `RecallResult`; all are of NumPy.

    Attributes
    ----------
    kind : ndarray of str
        "memory" or "inverse" if at most round(tolerance n) units differ from the nearest stored pattern x or
        from its inverse -x; else "mixture" if no more differ from that below; else "other".
    index : ndarray of int64
        The nearest pattern: that of largest absolute overlap, the first of equal ones.
    sign : ndarray of int8
        +1, or -1 if the overlap with it is negative.
    distance : ndarray of int64
        Units that differ from sign times the nearest pattern, at most n / 2.
    mixture : ndarray of int64, shape (..., 3)
        The three patterns of largest absolute overlap, the first of equal ones first, whose majority
        sign(+-x1 +-x2 +-x3) the state is; -1 where the kind is not "mixture".
    mixture_signs : ndarray of int8, shape (..., 3)
        Their signs, those of the overlaps (+1 for 0); 0 where the kind is not "mixture".

    Examples
    --------
    >>> import fastrec
    >>> from fastrec.hopfield.identification import identify_states
    >>> patterns = fastrec.random_patterns(p=3, n=100, seed=1)
    >>> states = np.sign([patterns[1], -patterns[2], patterns.sum(axis=0)])
    >>> x, s = (fastrec.pack(array).words[None] for array in (patterns, states))
    >>> m = states.astype(int) @ patterns.T
    >>> found = identify_states(m[None], x, s, n=100)
    >>> found.kind
    array([['memory', 'inverse', 'mixture']], dtype='<U7')
    >>> found
    Identification(states=(1, 3), memories=1, inverses=1, mixtures=1, others=0, distance=0..25)
    """

    kind: NDArray[np.str_] | Any
    index: NDArray[np.int64] | Any
    sign: NDArray[np.int8] | Any
    distance: NDArray[np.int64] | Any
    mixture: NDArray[np.int64]
    mixture_signs: NDArray[np.int8]

    def _summary(self) -> dict[str, Any]:
        memories, inverses, mixtures, others = (np.count_nonzero(self.kind == kind) for kind in KINDS)
        return {
            "states": np.shape(self.kind),
            "memories": memories,
            "inverses": inverses,
            "mixtures": mixtures,
            "others": others,
            "distance": span([int(np.min(self.distance)), int(np.max(self.distance))]),
        }

    def _columns(self) -> list[Column]:
        return by_row(**{field.name: getattr(self, field.name) for field in fields(self)})


def identify_states(
    m: Any,
    memories: Any,
    states: Any,
    n: int,
    tolerance: float = 0.05,
    lead: tuple[int, ...] | None = None,
) -> Identification:
    """What states are, of k networks of n units each: arrays (k, b), or of the shape `lead`.

    m (k, b, p) are the overlaps sum_i x_i s_i, whole numbers, of states, words (k, b, w), with memories,
    words (k, p, w); each may be anywhere.  Raises ValueError for a tolerance that is no
    number from 0 to below 1.
    """
    most = round(number("tolerance", tolerance, 0, 1, closed=True) * n)
    m = move(m, "cpu")
    index = np.abs(m).argmax(-1)
    overlap = np.take_along_axis(m, index[..., None], -1)[..., 0].astype(np.int64)
    sign = np.where(overlap < 0, -1, 1).astype(np.int8)
    distance = (n - np.abs(overlap)) // 2
    kind = np.where(distance > most, 3, (sign < 0).astype(np.int64))
    mixture = np.full((*kind.shape, 3), -1, dtype=np.int64)
    signs = np.zeros(mixture.shape, dtype=np.int8)
    if m.shape[-1] >= 3 and (kind == 3).any():
        networks, rows = rest = np.nonzero(kind == 3)
        where = backend_of(states)
        others = states[move(networks, where), move(rows, where)]
        three, own, wrong = find_mixtures(m[rest], networks, memories, others, n)
        near = wrong <= most
        at = networks[near], rows[near]
        kind[at], mixture[at], signs[at] = 2, three[near], own[near]
    found: tuple[Any, ...] = (KINDS[kind], index, sign, distance, mixture, signs)
    if lead is not None:
        found = tuple(array.reshape((*lead, *array.shape[2:]))[()] for array in found)
    return Identification(*found)


def find_mixtures(
    m: NDArray[Any], networks: NDArray[np.int64], memories: Any, states: Any, n: int
) -> tuple[NDArray[np.int64], NDArray[np.int8], NDArray[np.int64]]:
    """The majorities of three memories that are nearest to r states: which three, their signs, the distance.

    The three are those of largest absolute overlap, the first of equal ones, each with the sign of its
    overlap (+1 for 0).  m (r, p) are the overlaps of states, words (r, w), each with the p >= 3 memories,
    words (k, p, w), of its network, networks (r,); the distance counts units.
    """
    size, rows = np.abs(m), np.arange(len(m))
    three = np.empty((len(m), 3), dtype=np.int64)
    for j in range(3):  # largest first, and the first of equal ones, which no partial sort promises
        three[:, j] = size.argmax(1)
        size[rows, three[:, j]] = -1
    signs = np.where(m[rows[:, None], three] < 0, -1, 1).astype(np.int8)
    where = backend_of(memories)
    chosen = move(memories[move(networks[:, None], where), move(three, where)], "cpu")
    all_units = np.full(chosen.shape[-1], 2**64 - 1, dtype=np.uint64)
    all_units[-1] >>= np.uint64(-n % 64)
    chosen[signs < 0] ^= all_units
    x, y, z = chosen.swapaxes(0, 1)
    wrong = (x & y | y & z | z & x) ^ move(states, "cpu")
    return three, signs, np.bitwise_count(wrong).sum(1, dtype=np.int64)
