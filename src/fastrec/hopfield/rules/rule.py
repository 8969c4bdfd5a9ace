"""The description of a learning rule, and what it gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Learnt:
    """The couplings that a rule gives to k networks.

    Parameters
    ----------
    weights : ndarray of a signed integer dtype, shape (k, n, n)
        The couplings W, where the backend computes; W_ij is what unit i receives from unit j.
    scale : float
        W divided by it is n times the couplings of the textbook.
    thresholds : ndarray of int64, shape (k, n), optional
        Thresholds that belong to the rule, used where the network has none of its own.
    failed : dict of int to str
        The networks that could not learn, each with the reason, one sentence.
    bound : int, optional
        What the sum of ``|W_ij|`` over a row never exceeds, where that is known; `weights` then has the dtype
        it is to have.
    """

    weights: Any
    scale: float = 1.0
    thresholds: Any = None
    failed: dict[int, str] | None = None
    bound: int | None = None


@dataclass(frozen=True)
class Rule:
    """A learning rule: the integer couplings W as a function of the stored patterns, in their order.

    `HopfieldNetwork` keeps the patterns packed: ``store`` appends to them, ``forget`` takes some out, and the
    rule gives the couplings of those that are left.

    Parameters
    ----------
    name : str
        Name of the rule.
    source : str
        Where the rule was published.
    learn : callable
        ``learn(stored, backend)`` gives the `Learnt` of `StoredPatterns`.  The diagonal of the couplings is
        zero unless ``stored.setting.self_coupling``.
    bound : callable
        ``bound(setting, total)`` is an integer that no coupling of patterns whose weights have the total size
        `total` exceeds.  It decides whether sums of them fit 64 bits.
    options : tuple of str
        Arguments of `HopfieldNetwork` that only this rule takes.
    pattern_space : bool
        Whether W is the sum of the outer products of the patterns.  Fields, energies and recall are then
        computed from the patterns too, by kernels that need no couplings in memory.
    weighted : bool
        Whether memories may have weights other than 1.
    self_coupling : bool
        Whether the rule is defined with self-coupling too.
    exact : bool
        Whether the couplings are the same bits on every machine.  If not, they are data: from them on all is
        exact.
    symmetric : bool
        Whether W_ij = W_ji.
    whole : bool
        Whether the scale is 1 and thresholds therefore whole numbers.
    can_fail : bool
        Whether there are patterns that it cannot learn; ``store`` then learns at once.
    """

    name: str
    source: str
    learn: Callable[[Any, str], Learnt]
    bound: Callable[[Any, int], int]
    options: tuple[str, ...] = ()
    pattern_space: bool = False
    weighted: bool = False
    self_coupling: bool = True
    exact: bool = True
    symmetric: bool = True
    whole: bool = True
    can_fail: bool = False

    def __repr__(self) -> str:
        return f'Rule("{self.name}")'
