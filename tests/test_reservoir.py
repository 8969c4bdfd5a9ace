"""Echo state networks: what is fitted, computed, forecast, classified and remembered."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from devices import emulated
from hypothesis import given, settings
from hypothesis import strategies as st

import fastrec
from fastrec import EchoState, validation
from fastrec.backend import array_module, move, on_device
from fastrec.kernels.precision import rounded
from fastrec.reservoir import memory_capacity

RNG = np.random.default_rng(0)
X, Y = RNG.uniform(-1, 1, (3, 40, 2)), RNG.uniform(-1, 1, (3, 40, 2))
LENGTHS = np.array([40, 9, 23])
TOPOLOGIES = ("sparse", "dense", "cycle")


def network(backend: str | None = None, **given: Any) -> EchoState:
    options: dict[str, Any] = {"leak": 0.6, "bias_scaling": 0.3, "dtype": np.float64, "seed": 3}
    return EchoState(2, 17, 2, backend=backend, **(options | given))


def close(found: Any, expected: Any, tolerance: float = 1e-11) -> None:
    np.testing.assert_allclose(move(found, "cpu"), expected, rtol=0, atol=tolerance)


def by_hand(
    esn: EchoState, ridge: float, x: np.ndarray, targets: np.ndarray, steps: np.ndarray
) -> np.ndarray:
    """The readout by least squares on the states of the steps (b, t) bool that count."""
    fed = {"targets": targets} if "W_fb" in esn.parameters else {}
    states, _ = esn.states(x, **fed)
    v, goal = np.concatenate([x, move(states, "cpu")], axis=-1)[steps], targets[steps]
    spread = np.vstack([v - v.mean(axis=0), np.sqrt(ridge) * np.eye(v.shape[1])])
    padded = np.vstack([goal - goal.mean(axis=0), np.zeros((v.shape[1], goal.shape[1]))])
    weights = np.linalg.lstsq(spread, padded, rcond=None)[0]
    return np.vstack([goal.mean(axis=0) - v.mean(axis=0) @ weights, weights])


@pytest.mark.parametrize("topology", TOPOLOGIES)
@pytest.mark.parametrize("activation", ["tanh", "logistic"])
def test_states_are_those_of_an_elman_network(backend: str, topology: Any, activation: Any) -> None:
    esn = network(backend, topology=topology, activation=activation, leak=1.0, dtype=np.float32)
    rnn = fastrec.RNN(2, 17, activation=activation, backend=backend)
    for name in ("W_in", "W_rec", "b"):
        rnn.parameters[name][...] = rnn._device().take(esn.parameters[name])
    trace = rnn.forward(X, lengths=LENGTHS)
    states, last = esn.states(X, lengths=LENGTHS)
    close(states, move(trace.hidden, "cpu"), 2e-6)
    close(last, move(trace.state[0], "cpu"), 2e-6)


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_weights_are_as_asked(topology: Any) -> None:
    esn = network(
        topology=topology, spectral_radius=0.7, input_scaling=[0.5, 2], density={"sparse": 0.2}.get(topology)
    )
    W_in, W_rec, b, leak = (esn.parameters[name] for name in ("W_in", "W_rec", "b", "leak"))
    assert abs(np.linalg.eigvals(W_rec)).max() == pytest.approx(0.7)
    connections = {"sparse": 3, "dense": 17, "cycle": 1}[topology]
    assert ((W_rec != 0).sum(axis=0) == connections).all() and ((W_rec != 0).sum(axis=1) == connections).all()
    most = abs(W_in).max(axis=1)
    assert (
        (most <= [0.5, 2]).all()
        and (most > [0.35, 1.4]).all()
        and (leak == 0.6).all()
        and 0.2 < abs(b).max() <= 0.3
    )
    if topology == "cycle":
        assert set(abs(W_in[1])) == {2} and W_rec[0, 1] == W_rec[16, 0] == 0.7


def test_dense_weights_of_float32_have_eight_bits() -> None:
    esn = network(topology="dense", dtype=np.float32, feedback_scaling=0.1)
    for name in ("W_in", "W_rec", "W_fb"):
        assert np.array_equal(rounded(esn.parameters[name], "bf16"), esn.parameters[name])
    assert abs(np.linalg.eigvals(esn.parameters["W_rec"])).max() == pytest.approx(0.9, abs=2e-3)


@pytest.mark.parametrize("options", [{}, {"feedback_scaling": 0.4}, {"topology": "dense"}], ids=str)
def test_fit_is_ridge_regression_on_the_states(backend: str, options: dict[str, Any]) -> None:
    esn = network(backend, **options)
    assert esn.fit(X, Y, ridge=0.1, washout=5) is esn
    close(esn.readout, by_hand(esn, 0.1, X, Y, np.arange(40)[None] >= [[5]] * 3), 1e-9)
    _, end = esn.states(X, **({"targets": Y} if "feedback_scaling" in options else {}))
    close(esn.state, move(end, "cpu"))


def test_padding_is_not_read(backend: str) -> None:
    """Whatever it holds; sequences of different lengths are as those of their own, one by one."""
    esn, padding = network(backend), np.arange(40) >= LENGTHS[:, None]
    x, y = X.copy(), Y.copy()
    x[padding] = y[padding] = np.nan
    esn.fit(x, y, ridge=0.1, washout=7, lengths=LENGTHS)
    steps = (np.arange(40) >= 7) & ~padding
    close(esn.readout, by_hand(network(), 0.1, X, Y, steps), 1e-9)
    outputs, last = esn.predict(x, lengths=LENGTHS)
    for row, length in enumerate(LENGTHS):
        alone, end = esn.predict(X[row, :length])
        close(outputs[row, :length], move(alone, "cpu"))
        close(last[row], move(end, "cpu"))
        assert not move(outputs[row, length:], "cpu").any()


@pytest.mark.parametrize("options", [{}, {"feedback_scaling": 0.2, "topology": "dense"}], ids=str)
def test_outputs_are_the_readout_of_the_states(backend: str, options: dict[str, Any]) -> None:
    esn = network(backend, **options).fit(X, Y, ridge=0.1, washout=5)
    outputs, last = esn.predict(X)
    made = move(outputs, "cpu")
    states, end = esn.states(X, **({"targets": made} if options else {}))
    v = np.concatenate([np.ones((3, 40, 1)), X, move(states, "cpu")], axis=-1)
    close(outputs, v @ move(esn.readout, "cpu"))
    close(last, move(end, "cpu"))
    first, state = esn.predict(X[:, :11])
    rest, after = esn.predict(X[:, 11:], state)
    close(array_module(esn.backend if on_device(first) else "cpu").concatenate([first, rest], axis=1), made)
    close(after, move(last, "cpu"))


@pytest.mark.parametrize("options", [{}, {"feedback_scaling": 0.2}], ids=str)
def test_extend_reads_its_outputs(backend: str, options: dict[str, Any]) -> None:
    esn = network(backend, **options).fit(X[:, :-1], X[:, 1:], ridge=1.0, washout=5)
    forecast, end = esn.extend(X, 6)
    outputs, state = esn.predict(X)
    for t in range(6):
        close(forecast[:, t], move(outputs[:, -1], "cpu"))
        outputs, state = (outputs, state) if t == 5 else esn.predict(outputs[:, -1:], state)
    close(end, move(state, "cpu"))
    first, state = esn.extend(X, 2)
    more, last = esn.extend(first[:, -1:], 4, state)
    close(more, move(forecast[:, 2:], "cpu"))
    close(last, move(end, "cpu"))
    close(esn.extend(X[0], 6)[0], move(forecast[0], "cpu"))


def test_feedback_generates_a_pattern(backend: str) -> None:
    """A sine from nothing but the outputs that are fed back."""
    t = np.arange(700)
    wave, nothing = 0.6 * np.sin(0.3 * t)[:, None], np.zeros((700, 1))
    options = {"spectral_radius": 0.8, "bias_scaling": 0.2, "feedback_scaling": 1.0, "seed": 0}
    esn = EchoState(1, 40, dtype=np.float64, backend=backend, **options).fit(nothing, wave, ridge=1e-7)
    _, state = esn.states(nothing, targets=wave)
    close(state, move(esn.state, "cpu"))
    outputs, _ = esn.predict(nothing[:60], state)
    close(outputs[:, 0], 0.6 * np.sin(0.3 * (700 + t[:60])), 0.02)


def test_k_networks_are_as_those_alone(backend: str) -> None:
    options: dict[str, Any] = {"dtype": np.float32, "feedback_scaling": 0.1}
    both = network(backend, models=2, **options).fit(X, Y, ridge=0.1, washout=3)
    outputs, state = both.predict(X)
    forecast, _ = both.extend(X, 3)
    for j in range(2):
        alone = network(backend, seed=3 + j, **(options)).fit(X, Y, ridge=0.1, washout=3)
        for name, values in alone.parameters.items():
            assert np.array_equal(values, both.parameters[name][j])
        pairs = (
            *(
                (both.readout[j], alone.readout),
                (both.state[j], alone.state),
                (forecast[j], alone.extend(X, 3)[0]),
            ),
            *zip((outputs[j], state[j]), alone.predict(X), strict=True),
        )
        for ours, theirs in pairs:
            if backend == "cpu":
                assert np.array_equal(ours, theirs)
            else:
                close(ours, move(theirs, "cpu"), 2e-3)
    own = np.stack([X, 2 * X])
    close(both.predict(own)[0][0], move(outputs[0], "cpu"), 1e-6)
    single, last = both.predict(X[0])
    assert single.shape == (2, 40, 2) and last.shape == (2, 19)
    assert both.states(own, targets=Y)[0].shape == (2, 3, 40, 17)


def test_ridge_is_chosen_by_validation(backend: str) -> None:
    u, y = fastrec.narma(400, seed=1)
    u, y = u[:-1, None], y[1:, None]
    ridges = [1e-9, 1e-3, 1e3]
    options: dict[str, Any] = {
        "input_scaling": 0.5,
        "models": 2,
        "dtype": np.float64,
        "seed": 0,
        "backend": backend,
    }
    kept = (u[250:], y[250:])
    chosen = EchoState(1, 30, **options).fit(u[:250], y[:250], ridge=ridges, validation=kept, washout=20)
    single = [EchoState(1, 30, **options).fit(u[:250], y[:250], ridge=r, washout=20) for r in ridges]
    errors = [
        np.square(move(esn.predict(kept[0])[0], "cpu") - kept[1])[:, 20:].sum(axis=(1, 2)) for esn in single
    ]
    for j, best in enumerate(np.argmin(errors, axis=0)):
        close(chosen.readout[j], move(single[best].readout[j], "cpu"))
    lengths = np.array([149])
    other = EchoState(1, 30, **options)
    other.fit(u[:250], y[:250], ridge=ridges, validation=(kept[0][None], kept[1][None], lengths), washout=20)
    close(other.readout, move(chosen.readout, "cpu"))


def test_labels_are_learnt_from_means(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastrec.reservoir import network as module

    labels = np.array([0, 1, 1])
    x = X + 0.8 * labels[:, None, None]
    x[np.arange(40) >= LENGTHS[:, None]] = np.nan
    for washout, size in ((0, 2**26), (4, 1)):
        monkeypatch.setattr(module, "STATES", size)
        esn = network(backend).fit(x, labels, ridge=0.1, washout=washout, lengths=LENGTHS)
        found, scores = esn.classify(x, LENGTHS, washout=washout)
        assert found.dtype == np.int64 and np.array_equal(move(found, "cpu"), labels)
        rows = []
        for row, length in enumerate(LENGTHS):
            states = move(esn.states(x[row, :length])[0], "cpu")
            rows.append(np.concatenate([x[row, :length], states], axis=1)[washout:].mean(axis=0))
        v, goal = np.array(rows), np.eye(2)[labels]
        centred = v - v.mean(axis=0)
        weights = np.linalg.solve(
            centred.T @ centred + 0.1 * np.eye(19), centred.T @ (goal - goal.mean(axis=0))
        )
        close(scores, goal.mean(axis=0) + centred @ weights, 1e-9)
    k = network(backend, models=2).fit(x, labels, ridge=0.1, lengths=LENGTHS)
    assert k.classify(x, LENGTHS)[0].shape == (2, 3)


@pytest.mark.parametrize(("n", "radius"), [(1, 0.5), (20, 0.9), (40, 0.95)])
def test_memory_of_a_linear_cycle(n: int, radius: float) -> None:
    """N - 1 + r^(2N); a delay of N m + j steps has r^(2Nm) (1 - r^(2N))."""
    options: dict[str, Any] = {"topology": "cycle", "activation": "linear", "spectral_radius": radius}
    for dtype in (np.float32, np.float64):
        found = EchoState(1, n, dtype=dtype, seed=0, **options).memory_capacity(20 * n)
        rounds = np.arange(1, 20 * n + 1) // n
        np.testing.assert_allclose(
            found.capacities, radius ** (2 * n * rounds) * (1 - radius ** (2 * n)), atol=1e-5
        )
        assert abs(found.total - (n - 1 + radius ** (2 * n))) < 1e-3 and found.bias == 0
        assert found.capacities is found.uncorrected or np.array_equal(found.capacities, found.uncorrected)


def test_memory_of_linear_units_by_both_ways(backend: str) -> None:
    """From the covariance, and from a run; with leaks and random weights."""
    options: dict[str, Any] = {
        "dtype": np.float64,
        "leak": np.linspace(0.4, 1, 6),
        "seed": 1,
        "backend": backend,
    }
    exact = EchoState(1, 6, topology="dense", activation="linear", **options).memory_capacity(12)
    assert 3.5 < exact.total < 6
    esn = EchoState(1, 6, topology="dense", input_scaling=1e-4, bias_scaling=1e-3, **options)
    run = esn.memory_capacity(12, steps=2000 if emulated(backend) else 20000)
    assert run.bias == pytest.approx(6 / ((2000 if emulated(backend) else 20000) - 101))
    np.testing.assert_allclose(run.capacities, exact.capacities, atol=0.06 if emulated(backend) else 0.02)
    assert (run.uncorrected >= run.capacities).all()


def test_bias_of_capacities_is_taken_out() -> None:
    """At delays that nothing remembers, their mean is 0."""
    found = EchoState(1, 50, spectral_radius=0.2, input_scaling=0.1, models=8, seed=0).memory_capacity(
        300, steps=1500
    )
    late = slice(200, None)
    assert found.capacities.shape == (8, 300) and found.total.shape == (8,)
    assert found.uncorrected[:, late].mean() == pytest.approx(found.bias.mean(), rel=0.1)
    assert abs(found.capacities[:, late].mean()) < 0.1 * found.bias.mean()


def test_a_result_shows_itself(tmp_path: Path) -> None:
    result = EchoState(1, 5, seed=0, models=2).memory_capacity(9, steps=300)
    assert repr(result).startswith("MemoryCapacity(total=") and "1..9" in result._repr_html_()
    axes = result.plot(tmp_path / "capacity.png")
    assert (tmp_path / "capacity.png").stat().st_size > 5000
    assert list(axes.lines[0].get_xdata()) == list(range(1, 10))
    other = fastrec.plot.memory_capacity_figure({"a": result, "b": result}).axes[0]
    assert result.plot(ax=other) is other and "a: " in other.get_legend().get_texts()[0].get_text()


def test_files_and_copies(backend: str, tmp_path: Path) -> None:
    for options in ({}, {"models": 2, "feedback_scaling": 0.2, "seed": [4, 1]}, {"topology": "dense"}):
        esn = network(backend, **options)
        path = tmp_path / "esn.npz"
        esn.save(path)
        assert EchoState.load(path, backend).readout is None
        esn.fit(X, Y, ridge=0.1, washout=3)
        esn.save(path)
        outputs = move(esn.predict(X)[0], "cpu")
        for again in (EchoState.load(path, backend), pickle.loads(pickle.dumps(esn)), copy.deepcopy(esn)):
            assert again.seed == esn.seed and repr(again) == repr(esn)
            np.testing.assert_array_equal(move(again.predict(X)[0], "cpu"), outputs)
        again.readout[...] = 0
        assert not move(again.predict(X)[0], "cpu").any() and move(esn.predict(X)[0], "cpu").any()


def test_files_that_are_damaged(tmp_path: Path) -> None:
    path = tmp_path / "esn.npz"
    esn = network()
    esn._weights["offsets"].flags.writeable = True
    esn._weights["offsets"][0, 0] = 17
    esn.save(path)
    with pytest.raises(ValueError, match=r"esn.npz: damaged, its offsets are not those of units"):
        EchoState.load(path)
    fastrec.RNN(2, 3).save(path)
    with pytest.raises(ValueError, match=r"esn.npz: not a fastrec reservoir file"):
        EchoState.load(path)
    with pytest.raises(ValueError, match="npz"):
        esn.save(tmp_path / "esn.txt")


def test_cupy_arrays_stay_on_the_device(cp: Any) -> None:
    x, y = cp.asarray(X), cp.asarray(Y)
    esn = network("gpu").fit(x, y, ridge=0.1, washout=3, lengths=cp.asarray(LENGTHS + 3 - 3))
    expected = network("cpu").fit(X, Y, ridge=0.1, washout=3, lengths=LENGTHS)
    outputs, state = esn.predict(x, esn.state)
    assert on_device(outputs) and on_device(state) and on_device(esn.state)
    close(outputs, expected.predict(X, expected.state)[0], 1e-9)
    assert not on_device(network("gpu").states(X)[0]) and on_device(network("gpu").states(x)[0])
    labels = network("gpu").fit(x, cp.asarray([0, 1, 1]), ridge=0.1).classify(x)[0]
    assert on_device(labels)
    with pytest.raises(fastrec.BackendError, match="CuPy"):
        network("cpu").states(x)


READY = network().fit(X, Y, ridge=0.1, washout=3)
ERRORS: list[tuple[Any, str]] = [
    (lambda: network(density=0.2, topology="cycle"), r"density is 0.2; only topology=\"sparse\" has one"),
    (lambda: network(density=1.1), r"density is 1.1; it must be at most 1"),
    (lambda: network(topology="ring"), r"topology is 'ring'; it must be"),
    (lambda: network(topology=[]), r"topology is \[\]; it must be"),
    (lambda: network(activation="sine"), r"activation is 'sine'; it must be"),
    (lambda: network(leak=0), r"leak must be a number above 0 and at most 1, or 17 of them"),
    (lambda: network(leak=np.full(17, np.nan)), r"leak must be a number"),
    (lambda: network(leak=np.ones(3)), r"leak must be a number"),
    (lambda: network(input_scaling=[1, -1]), r"input_scaling must be a number"),
    (lambda: network(spectral_radius=-1), r"spectral_radius is -1"),
    *(
        (lambda name=name: network(**{name: 1e300}), rf"{name} (is 1e\+300|must be a number from 0)")
        for name in ("spectral_radius", "input_scaling", "bias_scaling", "feedback_scaling")
    ),
    (lambda: network(dtype=np.int32), r"dtype is"),
    (lambda: network().predict(X), r"the network has no readout yet; call fit first"),
    (lambda: READY.predict(X[..., :1]), r"x has shape \(3, 40, 1\).*must be numbers \(t, 2\) or \(b, t, 2\)"),
    (lambda: READY.predict(X, np.zeros((2, 17))), r"state has shape \(2, 17\)"),
    (lambda: READY.predict(np.where(X > 0.99, np.nan, X)), r"x holds nan at \["),
    (lambda: READY.predict(X, lengths=[41, 1, 1]), r"lengths\[0\] is 41; it must be from 0 to t = 40"),
    (lambda: network().fit(X, Y[:, :39]), r"targets has shape \(3, 39, 2\)"),
    (lambda: network().fit(X, Y), r"washout is 100, which leaves no step of x"),
    (lambda: network().fit(X, Y, washout=3, ridge=-1), r"ridge is -1"),
    (lambda: network().fit(X, Y, washout=3, ridge=[1, 2]), r"ridge is \[1, 2\]; give validation"),
    (lambda: network().fit(X, Y, washout=3, ridge=[]), r"ridge is \[\]; give at least one"),
    (
        lambda: network().fit(X[:, :9], Y[:, :9], washout=3, ridge=0),
        r"ridge is 0, too small for these features",
    ),
    (lambda: network().fit(X, Y, washout=3, validation=3), r"validation is 3; give \(x, targets\)"),
    (lambda: network().fit(None, None, validation=(X,)), r"validation is \(array.*; give \(x, targets\)"),
    (lambda: network().fit(X, Y, washout=3, validation=(X, X[:1])), r"validation: targets has shape"),
    (lambda: network().fit(X, [0, 1, 2]), r"targets holds 2 at \[0, 2\]; it must be from 0 to 1"),
    (lambda: network().fit(X, [0, 1, 1], washout=40), r"washout is 40, and a sequence has 40 steps"),
    (lambda: network(feedback_scaling=1).fit(X, [0, 1, 1]), r"targets has labels, and the network feeds"),
    (lambda: READY.classify(X[0]), r"x has shape \(40, 2\); give sequences \(b, t, i\)"),
    (lambda: READY.states(X, targets=Y), r"targets is given; without feedback leave them out"),
    (lambda: network(feedback_scaling=1).states(X), r"targets is None; give the outputs to feed back"),
    (lambda: READY.extend(X[:, :0], 3), r"x has shape \(3, 0, 2\); give at least one step"),
    (lambda: READY.extend(X, 0), r"steps is 0"),
    (
        lambda: EchoState(1, 5, 2).fit(X[..., :1], Y, washout=3).extend(X[..., :1], 2),
        r"has 2 outputs and input_size 1",
    ),
    (lambda: READY.memory_capacity(), r"the network has 2 inputs; memory capacity"),
    (
        lambda: EchoState(1, 5, feedback_scaling=1).memory_capacity(),
        r"the network has feedback; memory capacity",
    ),
    (lambda: EchoState(1, 5).memory_capacity(0), r"max_delay is 0"),
    (lambda: EchoState(1, 5).memory_capacity(steps=100), r"steps is 100; with 5 units give at least 115"),
    (
        lambda: EchoState(1, 5, activation="linear", spectral_radius=1.1).memory_capacity(),
        r"the linear network has no stationary state",
    ),
    (lambda: fastrec.mackey_glass(10, tau=0.5), r"tau is 0.5; it must be a number at least 1"),
    (lambda: fastrec.narma(10, order=21), r"order is 21"),
]


@pytest.mark.parametrize(("call", "message"), ERRORS, ids=[message for _, message in ERRORS])
def test_errors(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


def test_numbers_that_grow_without_bound(backend: str) -> None:
    esn = EchoState(1, 5, activation="linear", spectral_radius=30, seed=0, backend=backend)
    x = np.ones((60, 1))
    with pytest.raises(FloatingPointError, match="states are not finite"):
        esn.states(x)
    with pytest.raises(FloatingPointError, match="states are not finite"):
        esn.fit(x, x, washout=1)
    esn.readout = np.ones((7, 1), np.float32)
    with pytest.raises(FloatingPointError, match="outputs are not finite"):
        esn.predict(x)
    assert esn.state is None
    esn = EchoState(1, 5, seed=0, dtype=np.float32, backend="reference")
    with pytest.raises(FloatingPointError, match="the readout is not finite in float32"):
        esn.fit(np.sin(np.arange(60))[:, None] * 1e-3, x * 1e38 * np.cos(np.arange(60))[:, None], washout=1)
    assert esn.readout is None


def test_memory_is_asked_for_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "available_memory", lambda backend="cpu": 2**27)
    with pytest.raises(ValueError, match=r"^the reservoir needs .* are available"):
        EchoState(1, 10**5)
    x = np.broadcast_to(np.float32(0), (10**7, 1))
    with pytest.raises(ValueError, match=r"^the states needs"):
        EchoState(1, 10, seed=0).states(x)
    with pytest.raises(ValueError, match=r"^the capacities needs"):
        EchoState(1, 10, activation="linear", seed=0).memory_capacity(10**8)


@settings(max_examples=15)
@given(
    sizes=st.tuples(
        st.integers(1, 3), st.integers(1, 4), st.integers(1, 20), st.integers(1, 3), st.integers(1, 40)
    ),
    o=st.integers(1, 3),
    topology=st.sampled_from(TOPOLOGIES),
    feedback=st.booleans(),
    seed=st.integers(0, 2**64 - 4),
)
def test_any_shapes(sizes: tuple[int, ...], o: int, topology: Any, feedback: bool, seed: int) -> None:
    """The cpu computes what the reference does."""
    k, b, t, i, h = sizes
    rng = np.random.default_rng(seed)
    x, targets = rng.uniform(-1, 1, (b, t, i)), rng.uniform(-1, 1, (k, b, t, o))
    options: dict[str, Any] = {"topology": topology, "models": k, "seed": seed, "dtype": np.float64}
    options["feedback_scaling"] = 0.1 * feedback
    ours, theirs = (
        EchoState(i, h, o, backend=name, **options).fit(x, targets, ridge=1.0, washout=0)
        for name in ("cpu", "reference")
    )
    close(ours.readout, theirs.readout, 1e-9)
    for found, expected in zip(ours.predict(x), theirs.predict(x), strict=True):
        close(found, expected, 1e-6 * max(1, abs(expected).max()))


def test_mackey_glass_solves_its_equation() -> None:
    """By a fit of its derivative, of sixth order in a unit of time: also of another delay."""
    for tau in (17, 30):
        x = fastrec.mackey_glass(3000, tau, seed=2)
        assert 0.2 < x.min() < 0.5 and 1.2 < x.max() < 1.6
        middle, late = x[100:-3], x[100 - tau : -3 - tau]
        slope = sum(
            c * (x[100 + s : len(x) - 3 + s] - x[100 - s : -3 - s])
            for s, c in ((1, 3 / 4), (2, -3 / 20), (3, 1 / 60))
        )
        assert abs(slope - 0.2 * late / (1 + late**10) + 0.1 * middle).max() < 2e-3
    assert not np.array_equal(fastrec.mackey_glass(20, seed=2), fastrec.mackey_glass(20, seed=3))


def test_narma_follows_its_equation() -> None:
    u, y = fastrec.narma(300, 4, seed=5)
    assert u.min() >= 0 and u.max() <= 0.5 and not y[0]
    for t in range(3, 299):
        total = y[t] + y[t - 1] + y[t - 2] + y[t - 3]
        assert y[t + 1] == pytest.approx(0.3 * y[t] + 0.05 * y[t] * total + 1.5 * u[t - 3] * u[t] + 0.1)


def test_a_linear_capacity_of_weights_that_forget() -> None:
    """Of radius 0: one input is remembered."""
    A = np.diag(np.ones(3), -1)
    found = memory_capacity.linear_capacity(A, np.array([1.0, 0, 0, 0]), 6)
    np.testing.assert_allclose(found, [1, 1, 1, 0, 0, 0], atol=1e-12)
