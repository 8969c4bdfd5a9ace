"""Local fields, energies and stability of states on the GPU."""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from .module import INTEGERS, launch
from .products import overlaps
from .random import THREADS, blocks

TOGETHER = 8  # rows of the batch for which a warp reads the couplings of a unit, as in cuda/recall.cu


def plane_groups(bound: int) -> int:
    """Groups of 8 bit planes that hold numbers from -bound to bound."""
    return bound.bit_length() // 8 + 1


def bit_planes(m: Any, bound: int, u: int) -> tuple[Any, Any]:
    """Numbers m (k, b, p) of -bound..bound in binary, planes (k, b, 8 groups, u), and their sums (k, b), both
    uint64."""
    k, b, p = m.shape
    planes = cupy.empty((k, b, 8 * plane_groups(bound), u), dtype=np.uint64)
    totals = cupy.zeros((k, b), dtype=np.uint64)
    name = f"bit_planes<{plane_groups(bound)}>"
    launch("fields", name, blocks(64 * k * b * u), THREADS, m, k * b, p, u, planes, totals)
    return planes, totals


def launch_fields(
    kernel: str, units: Any, states: Any, m: Any, bound: int, self_coupling: bool, out: Any
) -> None:
    """Launch a kernel over all fields of states (k, b, w) with overlaps m (k, b, p), of -bound..bound."""
    (k, b, p), (_, n, u) = m.shape, units.shape
    planes, totals = bit_planes(m, bound, u)
    size, diagonal = blocks(32 * k * b * -(-n // 16)), 0 if self_coupling else p
    launch("fields", kernel, size, THREADS, units, states, planes, totals, k, b, n, u, diagonal, out)


def local_fields(units: Any, states: Any, m: Any, self_coupling: bool, fields: Any) -> None:
    """Fill fields (k, b, n) int32 or int64 with W s from units (k, n, u) and overlaps m (k, b, p)."""
    n = units.shape[1]
    kernel = f"local_fields<{plane_groups(n)}, {INTEGERS[fields.dtype.itemsize]}>"
    launch_fields(kernel, units, states, m, n, self_coupling, fields)


def signed_sums(units: Any, values: Any, bound: int, sums: Any) -> None:
    """Fill sums (k, b, n) int32 or int64 with X' v: units (k, n, u), values (k, b, p) of -bound..bound."""
    kernel = f"local_fields<{plane_groups(bound)}, {INTEGERS[sums.dtype.itemsize]}>"
    launch_fields(kernel, units, None, values, bound, True, sums)


def local_fields_weights(weights: Any, states: Any, fields: Any) -> None:
    """Fill fields (k, b, n) int32 or int64 with W s from weights (k, n, n)."""
    weight_fields(weights, None, states, fields)


def field_type(n: int, p: int) -> type:
    """int32 if twice any field of n units and p patterns fits, else int64."""
    return np.int32 if n * p < 2**30 else np.int64


def fields_from_patterns(packed: Any, units: Any, self_coupling: bool, states: Any) -> Any:
    """Local fields (k b, n) of states (k, b, w), int32 if twice any of them fits."""
    (k, p, _), n, b = packed.shape, units.shape[1], states.shape[1]
    m = cupy.empty((k, b, p), dtype=np.int32)
    overlaps(packed, states, n, m)
    fields = cupy.empty((k, b, n), dtype=field_type(n, p))
    local_fields(units, states, m, self_coupling, fields)
    return fields.reshape(k * b, n)


def weight_fields(weights: Any, thresholds: Any, states: Any, fields: Any) -> None:
    """`local_fields_weights`, less thresholds (k, n) of the fields' dtype unless that is None."""
    k, b, n = fields.shape
    name, size = f"weight_fields<{weight_types(fields, weights)}>", blocks(32 * k * n * -(-b // TOGETHER))
    launch("recall", name, size, THREADS, weights, thresholds, states, k, b, n, fields)


def weight_types(fields: Any, weights: Any) -> str:
    """Template arguments of a kernel with these fields and weights."""
    return f"{INTEGERS[fields.dtype.itemsize]}, {INTEGERS[weights.dtype.itemsize]}"


def quadratic_form(m: Any, n: int, self_coupling: bool, form: Any) -> None:
    """Fill form (k, b) int64 with s'W s = sum of squared overlaps m (k, b, p), less p n without diagonal."""
    k, b, p = m.shape
    launch("fields", "quadratic_form", k * b, THREADS, m, p, 0 if self_coupling else p * n, form)


def is_stable(units: Any, states: Any, m: Any, self_coupling: bool, stable: Any) -> None:
    """Fill stable (k, b) bool: no unit has a field against it (a zero field keeps the state)."""
    unstable = cupy.zeros(stable.shape, dtype=np.int32)
    n = units.shape[1]
    launch_fields(f"find_unstable<{plane_groups(n)}>", units, states, m, n, self_coupling, unstable)
    stable[...] = unstable == 0
