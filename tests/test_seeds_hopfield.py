"""Seeds of networks and what they fix: fresh ones, generators, rows, sweeps and repeats that go on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from test_hopfield import same, spins, stored

import fastrec
from fastrec import PackedStates, RecallResult
from fastrec.hopfield import dynamics
from fastrec.streams import MAX_SEED, read_seed

DRAWN: dict[str, Callable[[Any], Any]] = {
    "random_patterns": lambda seed: fastrec.random_patterns(3, 70, seed),
    "corrupt": lambda seed: fastrec.corrupt(spins(0, 3, 70), 0.5, seed),
    "random_orders": lambda seed: fastrec.random_orders(70, 3, seed),
    "recall": lambda seed: stored(spins(0, 30, 70)).recall(spins(1, 5, 70), seed=seed).states,
}
DEFINED: dict[str, Callable[..., int]] = {
    "capacity": lambda **seed: fastrec.capacity(10, 2, **seed).definition.seed,
    "capacity_scaling": lambda **seed: fastrec.capacity_scaling([10, 12], 2, **seed)[1].definition.seed,
    "retrieval_curve": lambda **seed: fastrec.retrieval_curve(10, [0.1], 1, **seed).definition.seed,
    "retrieval_scaling": lambda **seed: fastrec.retrieval_scaling([10], [0.1], 1, **seed).definition.seed,
    "basin_map": lambda **seed: fastrec.basin_map(10, [0.1], [0.5], 1, **seed).definition.seed,
    "phase_diagram": lambda **seed: fastrec.phase_diagram(10, [0.1], [1], 1, **seed).definition.seed,
    "find_oscillation": lambda **seed: fastrec.find_oscillation(50, 10, **seed).async_.seed,
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_generator_is_drawn_from_once_and_none_is_fresh(name: str) -> None:
    draw, generator, again = DRAWN[name], np.random.default_rng(1), np.random.default_rng(1)
    first, second = draw(generator), draw(generator)
    assert np.array_equal(first, draw(read_seed(again))) and np.array_equal(second, draw(read_seed(again)))
    assert not np.array_equal(first, second) and not np.array_equal(draw(None), draw(None))


def test_defaults_are_fresh() -> None:
    x, net = spins(0, 3, 70), stored(spins(0, 30, 70))
    calls = (
        lambda: fastrec.random_patterns(3, 70),
        lambda: fastrec.corrupt(x, 0.5),
        lambda: fastrec.random_orders(70, 3),
        lambda: net.recall(x).seed,
    )
    for call in calls:
        assert not np.array_equal(call(), call())


@pytest.mark.parametrize("name", DEFINED)
def test_definitions_hold_the_seed(name: str) -> None:
    seed_of = DEFINED[name]
    assert seed_of() == 0
    assert seed_of(seed=np.uint64(5)) == 5
    assert seed_of(seed=np.random.default_rng(3)) == read_seed(np.random.default_rng(3))
    assert seed_of(seed=None) != seed_of(seed=None)
    with pytest.raises(ValueError, match=r"seed is 1\.5; it must be an integer, a numpy"):
        seed_of(seed=1.5)


def test_a_recall_says_its_seed(backend: str) -> None:
    net, probes = stored(spins(0, 30, 70), backend=backend), spins(1, 5, 70)
    result = net.recall(probes)
    same(net.recall(probes, seed=result.seed), result)
    for options in ({"update": "sync"}, {"order": "sequential"}, {"order": [list(range(70))]}):
        assert net.recall(probes, seed=3, **options).seed is None


@pytest.mark.parametrize("lead", [(), (2,)])
def test_rows_are_corrupted_as_those_of_a_batch(backend: str, lead: tuple[int, ...]) -> None:
    x = spins(0, *lead, 5, 70)
    whole = fastrec.corrupt(x, 0.3, seed=4, backend=backend)
    for first, last in ((0, 2), (3, 5)):
        part = x[..., first:last, :]
        found = fastrec.corrupt(part, 0.3, seed=4, backend=backend, first_row=first)
        assert np.array_equal(found, whole[..., first:last, :])
        packed = fastrec.corrupt(fastrec.pack(part), 0.3, seed=4, backend=backend, first_row=first)
        assert np.array_equal(packed.unpack(), found)
    if not lead:
        assert np.array_equal(fastrec.corrupt(x[3], 0.3, seed=4, backend=backend, first_row=3), whole[3])
    fastrec.corrupt(x[..., :1, :], 1, backend=backend, first_row=2**32 - 1)
    with pytest.raises(
        ValueError, match="first_row is 4294967292; it must be an integer from 0 to 4294967291"
    ):
        fastrec.corrupt(x, 1, backend=backend, first_row=2**32 - 4)


@pytest.mark.parametrize("representation", ["patterns", "weights"])
@pytest.mark.parametrize("order", ["random", "drawn", "given", "sequential"])
def test_a_recall_goes_on(backend: str, representation: str, order: str) -> None:
    n = 130
    net, probes = stored(spins(0, 40, n), backend=backend, representation=representation), spins(1, 9, n)
    options: dict[str, Any] = {"order": order, "seed": 7, "first_sweep": 5}
    if order in ("drawn", "given"):
        sweeps = fastrec.random_orders(n, 12, 7, backend=backend)
        options["order"] = sweeps if order == "drawn" else sweeps[::-1]
    whole, steps = net.recall(probes, max_sweeps=3, **options), [probes]
    for sweep in range(5, 8):
        options["first_sweep"] = sweep
        steps.append(net.recall(steps[-1], max_sweeps=1, **options).states)
    assert np.array_equal(whole.states, steps[-1])
    assert len(np.unique(steps, axis=0)) == 4  # something happens in each sweep
    drawn = net.recall(probes, seed=7, first_sweep=5, max_sweeps=3)
    assert np.array_equal(drawn.states, whole.states) == (order in ("random", "drawn"))


@pytest.mark.parametrize("order", ["random", "given"])
def test_sweeps_of_the_whole_grid_begin_anywhere(
    gpu: str, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As networks are recalled that are too large for a block of the gpu."""
    n = 130
    x, probes = spins(0, 40, n), spins(1, 9, n)
    options: dict[str, Any] = {"seed": 7, "first_sweep": 5, "max_sweeps": 3}
    if order == "given":
        options["order"] = fastrec.random_orders(n, 12, 8)
    expected = stored(x, backend="reference").recall(probes, **options)
    monkeypatch.setattr("fastrec.kernels.gpu.recall.SMALL", 0)
    same(stored(x, backend=gpu, representation="patterns").recall(probes, **options), expected)


@pytest.mark.slow
def test_random_orders(backend: str) -> None:
    orders = fastrec.random_orders(1030, 4, 9, backend=backend)
    assert orders.dtype == np.int32 and orders.shape == (4, 1030)
    assert np.array_equal(orders, fastrec.random_orders(1030, 4, 9, backend="reference"))
    assert np.array_equal(orders[2:], fastrec.random_orders(1030, 2, 9, first_sweep=2, backend=backend))
    net, probes = stored(spins(0, 300, 1030), backend=backend), spins(1, 3, 1030)
    expected = net.recall(probes, seed=9, max_sweeps=4)
    same(net.recall(probes, order=orders), expected)
    for options, message in (
        ({"n": 0}, "n is 0"),
        ({"sweeps": 0}, "sweeps is 0"),
        ({"first_sweep": -1}, "first_sweep is -1"),
        ({"seed": "a"}, "seed is 'a'"),
    ):
        with pytest.raises(ValueError, match=message):
            fastrec.random_orders(**{"n": 5, "sweeps": 1, **options})


@pytest.mark.parametrize("lead", [(), (4,), (2, 3)])
def test_repeats_are_recalls_of_their_own(backend: str, lead: tuple[int, ...]) -> None:
    n, seed = 130, MAX_SEED - 1  # the seeds of the repeats begin again at 0
    net = stored(spins(0, *lead[:-1], 30, n), backend=backend)
    probes = spins(1, *lead, n)
    alone = [net.recall(probes, seed=s, record_energy=True) for s in (MAX_SEED - 1, MAX_SEED, 0)]
    result = net.recall(probes, seed=seed, repeats=3, record_energy=True)
    assert result.states.shape == (3, *lead, n) and result.sweeps.shape == (3, *lead)
    assert len({each.states.tobytes() for each in alone}) > 1
    for r, each in enumerate(alone):
        same(result, each, r)
    assert result.seed == seed and str(result)
    packed = net.recall(fastrec.pack(probes), seed=seed, repeats=3)
    assert isinstance(packed.states, PackedStates) and packed.energies is None
    assert np.array_equal(packed.states.unpack(), result.states)
    one = net.recall(probes, seed=seed, repeats=1)
    same(one, alone[0].__class__(**{**vars(alone[0]), "energies": None}), 0)


@pytest.mark.parametrize("representation", ["patterns", "weights"])
@pytest.mark.parametrize("update", ["async", "sync"])
def test_energies_take_the_memory_of_the_sweeps_that_are_made(
    backend: str, update: str, representation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = stored(spins(0, 2, 40, 65), backend=backend, representation=representation)
    options: dict[str, Any] = {"update": update, "seed": 3, "record_energy": True}
    expected = net.recall(spins(1, 2, 5, 65), **options)
    found = net.recall(spins(1, 2, 5, 65), max_sweeps=2**31 - 1, **options)
    same(found, expected)
    assert found.energies.shape == expected.energies.shape
    monkeypatch.setattr(dynamics, "SMALL", 0)
    short = {**options, "max_sweeps": 2}
    cut: RecallResult = net.recall(spins(1, 2, 5, 65), **short)
    assert cut.energies.shape[-1] == 3 and (cut.period == 0).any()
    assert np.array_equal(cut.energies, expected.energies[..., :3], equal_nan=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"first_sweep": -1}, "first_sweep is -1"),
        ({"first_sweep": 2**31}, "first_sweep is 2147483648"),
        ({"first_sweep": 1, "update": "sync"}, 'first_sweep is 1; update="sync" has no orders'),
        ({"first_sweep": 1, "order": [[0, 1, 2]]}, "first_sweep is 1; order holds sweeps 0 to 0"),
        ({"repeats": 0}, "repeats is 0"),
        ({"repeats": 2, "update": "sync"}, "repeats is 2; only random orders"),
        ({"repeats": 2, "order": "sequential"}, "repeats is 2; only random orders"),
        ({"record_energy": "yes"}, "record_energy is 'yes'; it must be True or False"),
        ({"record_energy": 1}, "record_energy is 1; it must be True or False"),
    ],
)
def test_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        stored(spins(0, 2, 3)).recall([1, 1, 1], **options)


def test_an_error_comes_before_a_generator_is_drawn_from() -> None:
    generator = np.random.default_rng(0)
    before = generator.bit_generator.state
    for call in (
        lambda: fastrec.random_patterns(3, 0, generator),
        lambda: fastrec.corrupt([1, 1, 1], 4, generator),
        lambda: stored(spins(0, 2, 3)).recall([1, 1, 1], max_sweeps=0, seed=generator),
        lambda: fastrec.random_orders(3, 0, generator),
        lambda: fastrec.find_oscillation(0, 1, generator),
    ):
        with pytest.raises(ValueError, match="must be an integer from"):
            call()
    assert generator.bit_generator.state == before
