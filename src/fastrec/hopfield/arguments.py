"""Arguments of Hopfield networks, checked."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import prod
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..backend import move
from ..messages import shown
from ..validation import as_array, as_bool, as_choice, as_int, number
from .dynamics import By, Recordable
from .recall import Update
from .rules import RULES, Rule
from .states import MAX_UNITS, PackedStates
from .stored import Setting

RuleName = Literal["hebb", "storkey", "projection", "perceptron", "covariance", "sequence"]
"""How patterns become couplings."""

MOST_PASSES = 1000
LARGEST_DENOMINATOR = 1000


def read_setting(
    n: int, self_coupling: bool, rule: RuleName, thresholds: ArrayLike | None, **options: Any
) -> Setting:
    """The setting of a network, or ValueError; options that are None were not given."""
    chosen = RULES[as_choice("rule", rule, tuple(RULES))]
    for name, value in options.items():
        if value is not None and name not in chosen.options:
            takes = next(other.name for other in RULES.values() if name in other.options)
            raise ValueError(
                f'{name} is {shown(value)}; it is of rule="{takes}", and the rule is "{chosen.name}"'
            )
    if self_coupling and not chosen.self_coupling:
        raise ValueError(f'self_coupling is True; rule="{chosen.name}" has no self-coupling')
    values = {name: READERS[name](name, options.get(name)) for name in chosen.options}
    own = None if thresholds is None else read_thresholds(thresholds, n, chosen.whole)
    return Setting(n, chosen, self_coupling, values, own)


def read_activity(name: str, value: Any) -> Fraction:
    """A share of active units as a fraction of small numbers, the nearest."""
    if value is None:
        raise ValueError(f'{name} is not given; rule="covariance" needs the share of active units')
    share = Fraction(number(name, value, 0, 1)).limit_denominator(LARGEST_DENOMINATOR)
    if not 0 < share < 1:
        raise ValueError(
            f"{name} is {shown(value)}; it must be at least 1/{2 * LARGEST_DENOMINATOR} from 0 and 1"
        )
    return share


def read_margin(name: str, value: Any) -> float:
    """The margin of the perceptron rule."""
    return 0.0 if value is None else number(name, value, 0, closed=True)


def read_passes(name: str, value: Any) -> int:
    """The passes after which learning ends."""
    return MOST_PASSES if value is None else as_int(name, value, 1, 2**31 - 1)


def read_cyclic(name: str, value: Any) -> bool:
    """Whether the first pattern of a sequence follows the last."""
    return True if value is None else as_bool(name, value)


READERS = {
    "activity": read_activity,
    "margin": read_margin,
    "max_passes": read_passes,
    "cyclic": read_cyclic,
}


def read_thresholds(thresholds: Any, n: int, whole: bool) -> NDArray[np.float64]:
    """Thresholds (n,), whole numbers where couplings are, or ValueError."""
    array = read_numbers("thresholds", thresholds)
    if array.shape not in ((), (n,)):
        raise ValueError(f"thresholds has shape {array.shape}; give one number, or one for each unit, ({n},)")
    if whole and not (np.rint(array) == array).all():
        raise ValueError(
            f"thresholds holds {first(array, np.rint(array) != array)}; couplings are whole numbers here, "
            "and so must thresholds be"
        )
    return np.broadcast_to(array.astype(np.float64), n).copy()


def read_numbers(name: str, value: Any) -> NDArray[Any]:
    """`value` as an array of integers or finite floats below 2^53 of NumPy, or ValueError."""
    array = move(as_array(name, value), "cpu")
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{name} has dtype {array.dtype}; it must hold numbers")
    if array.dtype.kind == "f":
        array = array.astype(np.float64, copy=False)
    wrong = ~((array > -(2.0**53)) & (array < 2.0**53))
    if wrong.any():
        raise ValueError(f"{name} holds {first(array, wrong)}; it must hold finite numbers below 2^53")
    return array


def first(array: NDArray[Any], wrong: NDArray[np.bool_]) -> str:
    """The first of the wrong numbers and its place, for a message."""
    at: Sequence[int] = np.unravel_index(int(wrong.argmax()), wrong.shape)  # type: ignore[assignment]
    place = f" at [{', '.join(map(str, at))}]" if array.ndim else ""
    return f"{array[tuple(at)]}{place}"


def read_shape(shape: Sequence[int], n: int) -> tuple[int, ...]:
    """The argument `shape`, or ValueError unless its product is n."""
    try:
        sides = tuple(as_int("shape", side, 1, MAX_UNITS) for side in shape)
    except TypeError:
        raise ValueError(
            f"shape is {shown(shape)}; give the sides of a picture, as (rows, columns)"
        ) from None
    if prod(sides) != n:
        raise ValueError(f"shape is {shown(sides)}, {prod(sides)} units; the network has n = {n}")
    return sides


def read_weights(weight: Any, p: int, rule: Rule) -> NDArray[np.int64]:
    """The weights (p,) of memories, or ValueError."""
    array = move(as_array("weight", weight), "cpu")
    if array.dtype.kind not in "iu" or array.shape not in ((), (p,)):
        raise ValueError(
            f"weight is {shown(weight)}; it must be an integer, or as many as there are patterns, ({p},)"
        )
    if (array == 0).any() or not ((array > -(2**29)) & (array < 2**29)).all():
        raise ValueError(f"weight is {shown(weight)}; it must be from -2^29 to 2^29, and not 0")
    if not rule.weighted and (array != 1).any():
        raise ValueError(f'weight is {shown(weight)}; rule="{rule.name}" learns all patterns alike')
    return np.broadcast_to(array, p).astype(np.int64)


def read_record(record: Any, record_energy: Any, by: Any, update: Update) -> tuple[Recordable, ...]:
    """What to record, in one order, or ValueError."""
    names = tuple(record) if isinstance(record, (tuple, list, set, frozenset)) else (record,)
    for each in names:
        as_choice("record", each, get_args(Recordable))
    as_choice("by", by, get_args(By))
    if by == "update" and update == "sync":
        raise ValueError('by is "update"; update="sync" changes all units at once, record by="sweep"')
    if as_bool("record_energy", record_energy):
        names += ("energy",)
    return tuple(name for name in get_args(Recordable) if name in names)


def read_unknown(probes: Any, unknown: Any) -> tuple[Any, Any]:
    """Probes without unknown entries, and the mask of these, or None."""
    if unknown is None:
        return probes, None
    if not isinstance(unknown, (int, float, np.number)) or isinstance(unknown, (bool, np.bool_)):
        return probes, unknown
    if isinstance(probes, PackedStates):
        raise ValueError(f"unknown is {shown(unknown)}; packed probes hold +1 and -1 alone, give a mask")
    array = as_array("probes", probes)
    if array.dtype.kind not in "iuf":
        raise ValueError(
            f"unknown is {shown(unknown)}, a number; probes of dtype {array.dtype} hold no numbers"
        )
    hidden = array != array if unknown != unknown else array == unknown
    array = array.copy()
    array[hidden] = 1
    return array, hidden
