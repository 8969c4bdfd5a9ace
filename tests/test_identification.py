"""What a state is, compared with the definition in plain NumPy, for all states of small networks."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastrec
from fastrec.backend import array_module
from fastrec.hopfield.identification import Identification, identify_states


def spins(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.choice(np.array([-1, 1], np.int8), shape)


def identify(x: np.ndarray, s: np.ndarray, tolerance: float = 0.05, **options: Any) -> Identification:
    """What states (k, b, n) are, of networks with the patterns (k, p, n)."""
    m = s.astype(np.int32) @ x.swapaxes(1, 2).astype(np.int32)
    n = x.shape[-1]
    return identify_states(m, fastrec.pack(x).words, fastrec.pack(s).words, n, tolerance, **options)


def by_definition(x: np.ndarray, s: np.ndarray, tolerance: float) -> tuple[Any, ...]:
    """What one state (n,) is, of a network with the patterns (p, n)."""
    x, s, most = x.astype(int), s.astype(int), round(tolerance * x.shape[1])
    order = sorted(range(len(x)), key=lambda mu: (-abs(x[mu] @ s), mu))
    signs = [-1 if x[mu] @ s < 0 else 1 for mu in order]
    distance = np.count_nonzero(s != signs[0] * x[order[0]])
    found = (order[0], signs[0], distance)
    if distance <= most:
        return ("memory" if signs[0] > 0 else "inverse", *found, [-1] * 3, [0] * 3)
    if len(x) >= 3:
        majority = np.sign(sum(sign * x[mu] for mu, sign in zip(order[:3], signs[:3], strict=True)))
        if np.count_nonzero(s != majority) <= most:
            return ("mixture", *found, order[:3], signs[:3])
    return ("other", *found, [-1] * 3, [0] * 3)


def fields(found: Identification) -> tuple[Any, ...]:
    return found.kind, found.index, found.sign, found.distance, found.mixture, found.mixture_signs


def check(x: np.ndarray, s: np.ndarray, tolerance: float) -> set[str]:
    """Compare with the definition; the kinds that there are."""
    found = identify(x, s, tolerance)
    kinds = set()
    for t, i in np.ndindex(s.shape[:2]):
        expected = by_definition(x[t], s[t, i], tolerance)
        kinds.add(expected[0])
        for array, value in zip(fields(found), expected, strict=True):
            assert np.array_equal(array[t, i], value), (x[t], s[t, i], expected)
    return kinds


@pytest.mark.parametrize(("n", "p"), [(1, 1), (2, 3), (3, 2), (5, 3), (8, 4), (9, 6), (10, 12)])
@pytest.mark.parametrize("tolerance", [0, 0.05, 0.15])
def test_all_states(n: int, p: int, tolerance: float) -> None:
    rng = np.random.default_rng(n)
    every = np.array(list(product([-1, 1], repeat=n)), np.int8)
    kinds = check(spins(rng, 2, p, n), np.stack([every, every[::-1]]), tolerance)
    assert "memory" in kinds and (n < 8 or kinds == {"memory", "inverse", "mixture", "other"})


@given(st.integers(0, 2**32), st.integers(1, 3), st.integers(1, 7), st.integers(1, 140), st.floats(0, 0.999))
def test_networks_of_any_size(seed: int, k: int, p: int, n: int, tolerance: float) -> None:
    """States made of patterns, of few units and of many, with equal patterns among them."""
    rng = np.random.default_rng(seed)
    x = spins(rng, k, p, n)
    x[:, rng.integers(p)] = rng.choice([-1, 1]) * x[:, rng.integers(p)]
    three = x[:, rng.integers(p, size=(6, 3))] * spins(rng, 6, 3, 1)
    s = np.sign(three.sum(2, dtype=np.int8)).astype(np.int8)
    s[:, :3] = spins(rng, 3, 1) * x[:, rng.integers(p, size=3)]
    check(x, np.where(rng.random(s.shape) < rng.choice([0, 0.05, 0.2]), -s, s), tolerance)


def test_overlap_of_nine_tenths() -> None:
    """By default 5 of 100 units may be wrong, of a memory and of an inverse."""
    x = spins(np.random.default_rng(0), 1, 2, 100)
    s = np.repeat(x[:, 1:], 4, axis=1)
    for row, wrong in zip(s[0], (5, 6, 94, 95), strict=True):
        row[:wrong] *= -1
    found = identify(x, s)
    assert found.kind.tolist() == [["memory", "other", "other", "inverse"]]
    assert found.distance.tolist() == [[5, 6, 6, 5]] and (found.index == 1).all()


def test_first_of_equal_patterns_and_sign_of_no_overlap() -> None:
    x = np.array([[[1, 1, -1, -1], [1, -1, 1, -1], [1, -1, 1, -1]]], np.int8)
    found = identify(x, np.array([[[1, -1, 1, -1], [-1, 1, -1, 1], [1, 1, 1, 1]]], np.int8))
    assert found.index.tolist() == [[1, 1, 0]] and found.sign.tolist() == [[1, -1, 1]]
    assert found.distance.tolist() == [[0, 0, 2]]


@pytest.mark.parametrize("lead", [(), (3,), (1, 3)])
def test_shapes(lead: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    x = spins(rng, 1, 3, 40)
    s = np.sign(x.sum(1, dtype=np.int8)).astype(np.int8) * spins(rng, 3, 1)
    s = s[: lead[-1] if lead else 1]
    found = identify(x, s[None], lead=lead)
    for array, end in zip(fields(found), [(), (), (), (), (3,), (3,)], strict=True):
        assert array.shape == (*lead, *end)
    assert np.all(found.kind == "mixture") and np.isscalar(found.index) == (lead == ())
    assert f"states={lead}" in repr(found) and "<table>" in found._repr_html_()


@pytest.mark.parametrize("tolerance", [-0.1, 1, np.nan, None, "0.1", True])
def test_wrong_tolerance(tolerance: Any) -> None:
    x = np.ones((1, 1, 4), np.int8)
    with pytest.raises(ValueError, match=r"^tolerance is .*; it must be a number at least 0 and below 1$"):
        identify(x, x, tolerance)


def test_arrays_on_the_device(gpu: str) -> None:
    cp = array_module(gpu)
    rng = np.random.default_rng(2)
    x, s = spins(rng, 2, 5, 70), spins(rng, 2, 9, 70)
    s[:, :3] = np.sign(x[:, :3].sum(1, keepdims=True, dtype=np.int8)) * spins(rng, 3, 1)
    m, memories, states = s.astype(np.int32) @ x.swapaxes(1, 2), fastrec.pack(x).words, fastrec.pack(s).words
    expected = fields(identify_states(m, memories, states, 70))
    assert (expected[0] == "mixture").any()
    given = (cp.asarray(m), cp.asarray(memories), cp.asarray(states))
    for mine in (given, (m, memories, given[2]), (m, given[1], states)):
        for a, b in zip(fields(identify_states(*mine, 70)), expected, strict=True):
            assert type(a) is np.ndarray and np.array_equal(a, b)
