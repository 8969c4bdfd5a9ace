"""Local fields, energies and stability of states."""

from __future__ import annotations

import numpy as np

from .packing import spins


def local_fields(
    units: np.ndarray, states: np.ndarray, m: np.ndarray, self_coupling: bool, fields: np.ndarray
) -> None:
    """Fill fields (k, b, n) int32 or int64 with W s from units (k, n, u) and overlaps m (k, b, p).

    h = X'(X s), less p s where a unit does not couple to itself.
    """
    p, n = m.shape[2], units.shape[1]
    fields[:] = m.astype(np.int64) @ spins(units, p).swapaxes(1, 2)
    if not self_coupling:
        fields -= (p * spins(states, n)).astype(fields.dtype)


def signed_sums(units: np.ndarray, values: np.ndarray, bound: int, sums: np.ndarray) -> None:
    """Fill sums (k, b, n) int32 or int64 with X' v: sum_mu v_mu x_mu_i from units (k, n, u).

    values (k, b, p) int32 are from -bound to bound, which is below 2^29.  So fields follow from overlaps, and
    couplings from the strengths with which patterns are embedded in them.
    """
    sums[:] = values.astype(np.int64) @ spins(units, values.shape[2]).swapaxes(1, 2)


def local_fields_weights(weights: np.ndarray, states: np.ndarray, fields: np.ndarray) -> None:
    """Fill fields (k, b, n) int32 or int64 with W s from weights (k, n, n)."""
    fields[:] = spins(states, weights.shape[1]) @ weights.astype(np.int64).swapaxes(1, 2)


def quadratic_form(m: np.ndarray, n: int, self_coupling: bool, form: np.ndarray) -> None:
    """Fill form (k, b) int64 with s'W s = sum of squared overlaps m (k, b, p), less p n without diagonal."""
    form[:] = (m.astype(np.int64) ** 2).sum(axis=2) - (0 if self_coupling else m.shape[2] * n)


def is_stable(
    units: np.ndarray, states: np.ndarray, m: np.ndarray, self_coupling: bool, stable: np.ndarray
) -> None:
    """Fill stable (k, b) bool: no unit has a field against it (a zero field keeps the state)."""
    fields = np.empty((*m.shape[:2], units.shape[1]), dtype=np.int64)
    local_fields(units, states, m, self_coupling, fields)
    stable[:] = (fields * spins(states, units.shape[1]) >= 0).all(axis=2)
