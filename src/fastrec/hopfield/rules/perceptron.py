"""The perceptron rule: each unit learns every pattern, again and again, until all are stable enough."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...backend import array_module, kernels, move
from ..states import unpack_states
from .rule import Learnt, Rule

if TYPE_CHECKING:
    from ..stored import StoredPatterns


def learn(stored: StoredPatterns, backend: str) -> Learnt:
    """Couplings from how often each unit has learnt each pattern."""
    xp, n, p, setting = array_module(backend), stored.n, stored.p, stored.setting
    margin, most = setting.options["margin"], setting.options["max_passes"]
    packed, units, k = stored.packed(), stored.units(backend), stored.buffer.shape[0]
    strengths = xp.empty((k, n, p), dtype=np.int32)
    passes, stability = xp.empty((k, n), dtype=np.int32), xp.empty((k, n), dtype=np.float64)
    thresholds = xp.broadcast_to(xp.asarray(setting.whole_thresholds(1.0)), (k, n)).copy()
    gram = stored.overlaps(backend, packed)
    kernels("hopfield", backend).perceptron(
        units, gram, thresholds, margin, setting.self_coupling, most, strengths, passes, stability
    )
    passes, failed = move(passes, "cpu"), {}
    for t in np.flatnonzero((passes == 0).any(axis=1)).tolist():
        least, units_left = move(stability[t], "cpu").min(), np.count_nonzero(passes[t] == 0)
        failed[t] = (
            f"{units_left} of {n} units have not learnt p = {p} patterns with margin {margin:g} in {most} "
            f"passes (least stability {least:.3g}); store fewer, lower margin or raise max_passes"
        )
    values = strengths * unpack_states(units, p, backend, backend)
    weights = stored.embedded(backend, values)
    if not setting.self_coupling:
        weights[:, xp.arange(n), xp.arange(n)] = 0
    return Learnt(weights, failed=failed)


PERCEPTRON = Rule(
    "perceptron",
    source="E. Gardner, J. Phys. A 21, 257 (1988)",
    learn=learn,
    bound=lambda setting, total: setting.options["max_passes"] * total,
    options=("margin", "max_passes"),
    symmetric=False,
    can_fail=True,
)
