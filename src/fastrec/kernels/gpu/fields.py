"""Local fields, energies and stability of states on the GPU."""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from .module import INTEGERS, launch
from .products import overlaps
from .random import THREADS, blocks


def plane_groups(n: int) -> int:
    """Groups of 8 bit planes that hold the overlaps -n..n."""
    return n.bit_length() // 8 + 1


def bit_planes(m: Any, n: int, u: int) -> tuple[Any, Any]:
    """Overlaps m (k, b, p) in binary, planes (k, b, 8 groups, u) uint64, and their sums (k, b) uint64."""
    k, b, p = m.shape
    planes = cupy.empty((k, b, 8 * plane_groups(n), u), dtype=np.uint64)
    totals = cupy.zeros((k, b), dtype=np.uint64)
    name = f"bit_planes<{plane_groups(n)}>"
    launch("fields", name, blocks(64 * k * b * u), THREADS, m, k * b, p, u, planes, totals)
    return planes, totals


def launch_fields(kernel: str, units: Any, states: Any, m: Any, diagonal: int, out: Any) -> None:
    """Launch a kernel over all fields of states (k, b, w) with overlaps m (k, b, p)."""
    (k, b, _), (_, n, u) = m.shape, units.shape
    planes, totals = bit_planes(m, n, u)
    size = blocks(32 * k * b * -(-n // 16))
    launch("fields", kernel, size, THREADS, units, states, planes, totals, k, b, n, u, diagonal, out)


def local_fields(units: Any, states: Any, m: Any, self_coupling: bool, fields: Any) -> None:
    """Fill fields (k, b, n) int32 or int64 with W s from units (k, n, u) and overlaps m (k, b, p)."""
    kernel = f"local_fields<{plane_groups(units.shape[1])}, {INTEGERS[fields.dtype.itemsize]}>"
    launch_fields(kernel, units, states, m, 0 if self_coupling else m.shape[2], fields)


def local_fields_weights(weights: Any, states: Any, fields: Any) -> None:
    """Fill fields (k, b, n) int32 or int64 with W s from weights (k, n, n)."""
    fields[...] = fields_from_weights(weights, states).reshape(*fields.shape)


def fields_from_patterns(packed: Any, units: Any, self_coupling: bool, states: Any) -> Any:
    """Local fields (k b, n) of states (k, b, w), int32 if twice any of them fits."""
    (k, p, _), n, b = packed.shape, units.shape[1], states.shape[1]
    m = cupy.empty((k, b, p), dtype=np.int32)
    overlaps(packed, states, n, m)
    fields = cupy.empty((k, b, n), dtype=np.int32 if n * p < 2**30 else np.int64)
    local_fields(units, states, m, self_coupling, fields)
    return fields.reshape(k * b, n)


def fields_from_weights(weights: Any, states: Any) -> Any:
    """Local fields (k b, n) of states (k, b, w), int32 if twice any of them fits."""
    (k, n, _), b = weights.shape, states.shape[1]
    narrow = weights.dtype.itemsize < 4 and n << 8 * weights.dtype.itemsize < 2**31
    fields = cupy.empty((k * b, n), dtype=np.int32 if narrow else np.int64)
    name = f"weight_fields<{weight_types(weights, fields)}>"
    launch("recall", name, blocks(fields.size), THREADS, weights, states, k, b, n, fields)
    return fields


def weight_types(weights: Any, fields: Any) -> str:
    """Template arguments of a kernel with these fields and weights."""
    return f"{INTEGERS[fields.dtype.itemsize]}, {INTEGERS[weights.dtype.itemsize]}"


def quadratic_form(m: Any, n: int, self_coupling: bool, form: Any) -> None:
    """Fill form (k, b) int64 with s'W s = sum of squared overlaps m (k, b, p), less p n without diagonal."""
    k, b, p = m.shape
    launch("fields", "quadratic_form", k * b, THREADS, m, p, 0 if self_coupling else p * n, form)


def is_stable(units: Any, states: Any, m: Any, self_coupling: bool, stable: Any) -> None:
    """Fill stable (k, b) bool: no unit has a field against it (a zero field keeps the state)."""
    unstable = cupy.zeros(stable.shape, dtype=np.int32)
    kernel = f"find_unstable<{plane_groups(units.shape[1])}>"
    launch_fields(kernel, units, states, m, 0 if self_coupling else m.shape[2], unstable)
    stable[...] = unstable == 0
