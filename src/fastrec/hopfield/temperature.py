"""Temperature as whole numbers: the odds of an update from a table that is the same on every machine.

In a field h of couplings W, less its threshold, a unit of a network of n units at temperature T becomes +1
with probability 1 / (1 + exp(-y)), y = 2 h / (n scale T): Glauber's dynamics (J. Math. Phys. 4, 294, 1963)
for the energy of `HopfieldNetwork.energy`.  So it is set against its field with probability
1 / (1 + exp(|y|)), which is tabled at every 1/1024 until it is below 2^-64, and interpolated between: each
probability above 2^-40 is right to 2^-20 of itself.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..messages import shown
from ..validation import as_array, as_int, number, require_memory

if TYPE_CHECKING:
    from .stored import StoredPatterns

SPACING, FRACTION = 10, 12  # entries of the table are 2^-SPACING apart; arguments have FRACTION bits more
LAST = math.ceil(64 * math.log(2) * 2**SPACING)  # the first entry below 2^-64
FACTOR_BITS = 31
MOST_AVERAGED = 2**29 - 1
MOST_NETWORKS = 2**24  # whose number is a part of the counter of their draws


@functools.cache
def chances() -> NDArray[np.uint64]:
    """2^64 / (1 + exp(j / 1024)) for j = 0, 1, ..., rounded down from whole numbers of 192 bits, then 0."""
    one = 1 << 192
    step = term = one  # exp(-1/1024), by its series
    for i in range(1, 24):
        term = -term // (i << SPACING)
        step += term
    power, table = one, []
    for _ in range(LAST):
        table.append((power << 64) // (one + power))
        power = power * step >> 192
    return np.array([*table, 0, 0], dtype=np.uint64)


def heat_levels(temperatures: NDArray[np.float64], n: int, scale: float) -> NDArray[np.int64]:
    """What the kernels take for each of the temperatures (sweeps,): (sweeps, 4), see the reference.

    A temperature of 0 obeys every field, and leaves a unit as it is where the field is 0.
    """
    distinct, places = np.unique(temperatures, return_inverse=True)
    levels = [_level(float(temperature), n, scale) for temperature in distinct]
    return np.array(levels, dtype=np.int64)[places]


def _level(temperature: float, n: int, scale: float) -> tuple[int, int, int, int]:
    """(cutoff, drop, factor, shift): ((size >> drop) factor) >> shift is the argument of a smaller size."""
    if temperature == 0:
        return 0, 0, 0, 0
    mantissa, exponent = _argument_of_one(temperature, n, scale)
    last = LAST << FRACTION
    if exponent > last.bit_length() or math.ldexp(mantissa, exponent) >= last:
        return 1, 0, 0, 0
    cutoff = min(math.ceil(math.ldexp(last / mantissa, min(-exponent, 62))), 2**62)
    drop = max(0, cutoff.bit_length() - FACTOR_BITS)
    shift = FACTOR_BITS - exponent - drop
    if shift > 62:
        return cutoff, 0, 0, 0
    return cutoff, drop, round(math.ldexp(mantissa, FACTOR_BITS)), shift


def _argument_of_one(temperature: float, n: int, scale: float) -> tuple[float, int]:
    """The argument of a field of 1, 2 / (n scale T), in units of the table, as of `math.frexp`.

    Apart from its mantissa the exponent may pass those of float64, as T and the scale may be any.
    """
    product, exponent = 1.0, 1 + SPACING + FRACTION
    for factor in (float(n), float(scale), temperature):
        mantissa, power = math.frexp(factor)
        product, exponent = product * mantissa, exponent - power
    mantissa, power = math.frexp(1 / product)
    return mantissa, exponent + power


def read_temperature(temperature: Any, max_sweeps: Any) -> tuple[NDArray[np.float64], int]:
    """The temperatures of a recall, (1,) or one for each sweep, and its number of sweeps, or ValueError."""
    array = as_array("temperature", temperature)
    if array.ndim == 0:
        constant = np.array([number("temperature", temperature, 0, closed=True)])
        return constant, 100 if max_sweeps is None else as_int("max_sweeps", max_sweeps, 1, 2**31 - 1)
    if array.ndim != 1 or not array.size or array.dtype.kind not in "iuf":
        raise ValueError(
            f"temperature has shape {array.shape}, dtype {array.dtype}; give a number, or one for each sweep"
        )
    schedule = np.asarray(array.get() if hasattr(array, "get") else array, dtype=np.float64)
    wrong = ~((schedule >= 0) & (schedule < np.inf))
    if wrong.any():
        at = int(wrong.argmax())
        raise ValueError(f"temperature[{at}] is {schedule[at]}; temperatures are finite and not negative")
    if max_sweeps is not None and as_int("max_sweeps", max_sweeps, 1, 2**31 - 1) != len(schedule):
        raise ValueError(
            f"max_sweeps is {shown(max_sweeps)}; temperature is a schedule of {len(schedule)} sweeps"
        )
    return schedule, len(schedule)


def require_hot(
    stored: StoredPatterns, backend: str, averaged: int, states: Any, repeats: int, from_weights: bool
) -> None:
    """Raise ValueError unless recall of states (k, b, w) at a temperature and its averages fit."""
    (k, b, _), n = states.shape, stored.n
    if k > MOST_NETWORKS:
        raise ValueError(f"the network has k = {k} networks; temperature takes at most 2^24")
    bound = stored.couplings("temperature", backend).bound if from_weights else n * stored.p
    if averaged and max(bound * n, n * averaged) * averaged >= 2**63:
        raise ValueError(f"average is {averaged}; sums over so many sweeps would pass 2^63")
    rows = repeats * k * b
    require_memory(f"averages of {rows} states", 20 * rows * n * (averaged > 0), backend=backend)
