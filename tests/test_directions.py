"""Networks that read backwards or both ways: as forwards over sequences that are turned round by hand."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from devices import to_host

import fastrec
from fastrec import RNN

pytestmark = pytest.mark.each_value  # on each backend kernels have tests of their own

CELLS = ("elman", "jordan", "gru", "gru_before", "lstm", "lstm_peepholes", "leaky")
LENGTHS = np.array([6, 1, 0, 4])
B, T = len(LENGTHS), 6
ON = np.arange(T) < LENGTHS[:, None]


def random(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def network(cell: str, backend: str, output_size: int | None = 3, **more: Any) -> RNN:
    """4 inputs, 5 hidden units, no parameter 0."""
    options = {"dtype": np.float64, "seed": 1, "backend": backend} | more
    rnn = RNN(4, 5, 3 if cell == "jordan" else output_size, cell, **options)
    for seed, (key, value) in enumerate(to_host(rnn.parameters).items()):
        rnn.parameters[key] = value + 0.1 * random(seed, *value.shape)
    return rnn


def inputs(lengths: np.ndarray | None, *lead: int) -> np.ndarray:
    """x (b, t, 4), NaN in the padding."""
    x = random(7, *lead, B, T, 4)
    return x if lengths is None else np.where(ON[..., None], x, np.nan)


def turned(array: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
    """(.., b, t, width) with the steps of each row in reverse order, by a loop."""
    out = array.copy()
    for row in range(B):
        end = T if lengths is None else lengths[row]
        out[..., row, :end, :] = array[..., row, :end, :][..., ::-1, :]
    return out


def part(rnn: RNN, way: int, layer: int, reverse: bool = False) -> RNN:
    """A single layer of one direction of a bidirectional network, without output layer."""
    end, of = f"_l{layer}" if layer else "", to_host(rnn.parameters)
    own = {
        key.removesuffix(end): array[..., way, :, :] if array.ndim > 2 else array[way]
        for key, array in of.items()
        if key not in ("E", "W_out", "b_out") and ("_l" in key) == bool(layer)
    }
    single = RNN(
        own["W_in"].shape[0], 5, None, rnn.cell, dtype=np.float64, backend=rnn.backend, reverse=reverse
    )
    single.parameters.update({key: np.ascontiguousarray(array) for key, array in own.items()})
    return single


def close(a: np.ndarray, b: np.ndarray) -> None:
    np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "lengths"])
@pytest.mark.parametrize("models", [None, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_reverse(backend: str, cell: str, models: int | None, lengths: np.ndarray | None) -> None:
    """Backwards is forwards over sequences turned round: outputs, states and gradients."""
    back, ahead = (network(cell, backend, models=models, reverse=reverse) for reverse in (True, False))
    x = inputs(lengths)
    found, wanted = back.forward(x, lengths=lengths), ahead.forward(turned(x, lengths), lengths=lengths)
    close(found.outputs, turned(wanted.outputs, lengths))
    close(found.hidden, turned(wanted.hidden, lengths))
    close(found.state, wanted.state)
    close(found.state_at(2), wanted.state_at(2))
    close(back.predict(x, lengths=lengths)[0], found.outputs)
    d = random(3, *found.outputs.shape)
    grads = back.backward(found, d, flow=True)
    others = ahead.backward(wanted, turned(d, lengths), flow=True)
    others["x"] = turned(others["x"], lengths)
    others["flow"] = turned(others["flow"][..., None], lengths)[..., 0]
    assert grads.keys() == others.keys()
    for key, value in grads.items():
        close(value, others[key])


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "lengths"])
@pytest.mark.parametrize("cell", ["elman", "jordan"])
def test_losses_in_reverse(compiled: str, cell: str, lengths: np.ndarray | None) -> None:
    """Kernels take what was turned round, with dropout between layers, and outputs that a cell feeds back."""
    options = (
        {"lengths": lengths} if cell == "jordan" else {"lengths": lengths, "dropout": 0.3, "dropout_seed": 1}
    )
    x, targets = inputs(lengths, 2), np.arange(B * T).reshape(B, T) % 3
    layers = 1 if cell == "jordan" else 2
    found, wanted = (
        network(cell, backend, models=2, num_layers=layers, reverse=True).loss_and_gradients(
            x, targets, **options
        )
        for backend in (compiled, "reference")
    )
    close(found[0], wanted[0])
    for key, value in to_host(found[1]).items():
        close(value, wanted[1][key])


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "lengths"])
@pytest.mark.parametrize("cell", ["elman", "gru", "lstm"])
def test_bidirectional_is_its_parts(backend: str, cell: str, lengths: np.ndarray | None) -> None:
    """Each layer is two networks side by side, and the next one reads both."""
    rnn = network(cell, backend, None, num_layers=2, bidirectional=True)
    x = inputs(lengths)
    below, states = x, []
    for layer in range(2):
        traces = [part(rnn, way, layer, bool(way)).forward(below, lengths=lengths) for way in (0, 1)]
        below = np.concatenate([trace.hidden for trace in traces], axis=-1)
        states += [trace.state[0] for trace in traces]
    trace = rnn.forward(x, lengths=lengths)
    close(trace.outputs, below)
    close(trace.state, np.stack(states))
    close(rnn.predict(x, lengths=lengths)[1], trace.state)


def test_bidirectional_jordan_adds_outputs(backend: str) -> None:
    rnn, x = network("jordan", backend, bidirectional=True), inputs(LENGTHS)
    total = 0
    for way in (0, 1):
        single = RNN(4, 5, 3, "jordan", dtype=np.float64, backend=backend, reverse=bool(way))
        single.parameters.update(
            {k: np.ascontiguousarray(v[way]) for k, v in to_host(rnn.parameters).items()}
        )
        total = total + single.forward(x, lengths=LENGTHS).outputs
    close(rnn.forward(x, lengths=LENGTHS).outputs, total)


@pytest.mark.parametrize("models", [None, 2])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_gradients(backend: str, cell: str, layers: int, models: int | None) -> None:
    """Of both directions, by finite differences along random directions, with dropout between the layers."""
    layers = 1 if cell == "jordan" else layers
    rnn = network(cell, backend, num_layers=layers, models=models, bidirectional=True)
    x, targets = inputs(LENGTHS), random(5, B, T, 3)
    state = 0.1 * random(6, *((models,) if models else ()), 2 * layers, B, 5)
    state = (
        state[..., :3]
        if cell == "jordan"
        else np.concatenate([state, state], -1)
        if "lstm" in cell
        else state
    )
    dropout = {} if cell == "jordan" else {"dropout": 0.3, "dropout_seed": 1}
    options = {"loss": "mse", "reduction": "sum", "lengths": LENGTHS, **dropout}
    _, grads, last = rnn.loss_and_gradients(x, targets, state=state, **options)
    assert last.shape == state.shape
    whole = to_host(rnn.parameters)

    def loss(moved: dict[str, np.ndarray], x: np.ndarray, state: np.ndarray) -> float:
        rnn.parameters.update({key: value.copy() for key, value in moved.items()})
        value, *_ = rnn.loss_and_gradients(x, targets, state=state, want_x=False, **options)
        return float(np.sum(value))

    eps = 1e-5
    for seed, key in enumerate([*whole, "x", "state"]):
        if key in ("h0", "c0", "h0_l1", "c0_l1"):
            assert not to_host(grads)[key].any()
            continue
        base = {"x": x, "state": state}.get(key, whole.get(key))
        step = random(seed, *base.shape)
        up, down = (
            loss(
                whole | ({key: base + e * step} if key in whole else {}),
                x + e * step if key == "x" else x,
                state + e * step if key == "state" else state,
            )
            for e in (eps, -eps)
        )
        given = np.nan_to_num(to_host(grads)[key])
        shared = given.sum(axis=0) if given.ndim > step.ndim else given
        slope = np.sum(np.where(np.isnan(base), 0, shared * step))
        assert np.isclose((up - down) / (2 * eps), slope, rtol=1e-6, atol=1e-8), key


def test_tokens_and_embedding(backend: str) -> None:
    """Tokens are one-hot inputs in both directions, and an embedding is a product before W_in."""
    rnn = RNN(4, 5, 3, "gru", bidirectional=True, dtype=np.float64, seed=0, backend=backend)
    tokens = np.arange(B * T).reshape(B, T) % 4
    close(
        rnn.forward(tokens, lengths=LENGTHS).outputs, rnn.forward(np.eye(4)[tokens], lengths=LENGTHS).outputs
    )
    deep = RNN(
        4, 5, 3, "gru", bidirectional=True, dtype=np.float64, seed=0, backend=backend, embedding_size=2
    )
    of = to_host(deep.parameters)
    rnn.parameters.update(
        {key: value.copy() for key, value in of.items() if key != "E"} | {"W_in": of["E"] @ of["W_in"]}
    )
    first, second = (net.loss_and_gradients(tokens, tokens % 3, lengths=LENGTHS) for net in (deep, rnn))
    assert np.isclose(first[0], second[0])
    d_product = to_host(second[1])["W_in"]
    close(to_host(first[1])["E"], (d_product @ of["W_in"].swapaxes(1, 2)).sum(axis=0))
    close(to_host(first[1])["W_in"], of["E"].T @ d_product)


def test_networks_side_by_side(backend: str) -> None:
    """k networks are single ones, the inputs shared or not."""
    rnn, x = network("lstm", backend, models=3, bidirectional=True, num_layers=2), inputs(LENGTHS)
    for given in (x, inputs(LENGTHS, 3)):
        outputs, state = rnn.predict(given, lengths=LENGTHS)
        for j in range(3):
            one, last = rnn.copy(model=j).predict(given if given.ndim == 3 else given[j], lengths=LENGTHS)
            close(outputs[j], one)
            close(state[j], last)


@pytest.mark.parametrize("direction", ["reverse", "bidirectional"])
class TestAround:
    def test_drawn_alike(self, direction: str) -> None:
        """A network is described, saved, pickled and copied with its direction."""
        rnn = RNN(3, 5, 2, "lstm", seed=4, **{direction: True})
        assert rnn.direction == direction and f"{direction}=True" in repr(rnn)
        forward = RNN(3, 5, 2, "lstm", seed=4)
        if direction == "reverse":
            assert all(
                np.array_equal(rnn.parameters[key], value) for key, value in forward.parameters.items()
            )
        else:
            assert rnn.parameters["b"].shape == (2, 20) and (rnn.parameters["b"][:, 5:10] == 1).all()
            assert not np.array_equal(*rnn.parameters["W_rec"])
            assert rnn.parameters["W_out"].shape == (10, 2)
        for other in (rnn.copy(), pickle.loads(pickle.dumps(rnn))):
            assert repr(other) == repr(rnn)

    def test_files(self, direction: str, tmp_path: Path) -> None:
        rnn, path = RNN(3, 5, 2, "gru", seed=4, **{direction: True}), tmp_path / "net.npz"
        rnn.save(path)
        other, x = RNN.load(path), random(0, 2, 7, 3)
        assert repr(other) == repr(rnn)
        assert np.array_equal(other.predict(x)[0], rnn.predict(x)[0])

    def test_training_resumes(self, direction: str, tmp_path: Path) -> None:
        """Stopped and resumed is the same as in one go, and the checkpoint loads as a network."""
        x = np.random.default_rng(0).integers(0, 3, (16, 7))
        options = {
            "seed": 1,
            "progress": False,
            "batch_size": 4,
            "dropout": 0.2,
            "lengths": np.arange(16) % 7 + 1,
        }
        whole, halves = (RNN(3, 5, 3, seed=0, **{direction: True}) for _ in range(2))
        fastrec.fit(whole, x, x[:, ::-1], epochs=4, **options)
        for epochs in (2, 4):
            fastrec.fit(halves, x, x[:, ::-1], epochs=epochs, checkpoint=tmp_path / "c.npz", **options)
        loaded = RNN.load(tmp_path / "c.npz")
        assert loaded.direction == direction
        for key, value in whole.parameters.items():
            assert np.array_equal(value, halves.parameters[key]) and np.array_equal(
                value, loaded.parameters[key]
            )

    def test_diagnostics(self, direction: str) -> None:
        rnn, tokens = RNN(3, 5, 3, num_layers=2, seed=0, **{direction: True}), np.arange(14).reshape(2, 7) % 3
        layers = 4 if direction == "bidirectional" else 2
        np.testing.assert_allclose(fastrec.spectral_radius(rnn), np.ones(layers), rtol=1e-5)
        several = RNN(3, 5, 3, "gru", num_layers=2, initial="uniform", models=3, seed=0, **{direction: True})
        alone = [fastrec.spectral_radius(several.copy(model=j)) for j in range(3)]
        np.testing.assert_allclose(fastrec.spectral_radius(several), alone, rtol=1e-5)
        assert alone[0].shape == (layers, 3)
        assert fastrec.gradient_flow(rnn, tokens, tokens).norms.shape == (layers, 7)

    def test_refused(self, direction: str) -> None:
        """What goes on from the end of a sequence needs a network that has not read it from there."""
        rnn, x = RNN(3, 5, 3, seed=0, **{direction: True}), np.zeros((1, 6), np.int32)
        with pytest.raises(
            ValueError, match=f"the network is {direction}; what it draws comes last, so give one"
        ):
            rnn.generate(x, 3)
        with pytest.raises(
            ValueError, match=f"the network is {direction}; windows hand on what was before them"
        ):
            fastrec.truncated_bptt(rnn, x, x, 2)
        with pytest.raises(ValueError, match=f"the network is {direction}; windows"):
            fastrec.fit(rnn, x, x, k1=2)
        (loss, *_), _ = next(fastrec.truncated_bptt(rnn, x, x, 6)), fastrec.fit(rnn, x, x, k1=6, epochs=1)
        assert loss > 0


def test_both_words_are_refused() -> None:
    with pytest.raises(ValueError, match="reverse and bidirectional are both True"):
        RNN(3, 5, reverse=True, bidirectional=True)
    with pytest.raises(ValueError, match="reverse"):
        RNN(3, 5, reverse=1)


def test_learns_what_needs_both_sides() -> None:
    """The next token is known to the one that reads backwards, and to a bidirectional network, alone."""
    x = np.random.default_rng(0).integers(0, 4, (256, 8))
    mask = np.ones(x.shape, bool)
    mask[:, -1] = False
    final = {}
    for direction in ("forward", "reverse", "bidirectional"):
        rnn = RNN(4, 12, 4, "gru", seed=1, **({direction: True} if direction != "forward" else {}))
        options = {"epochs": 10, "batch_size": 16, "mask": mask, "seed": 0, "progress": False}
        final[direction] = fastrec.fit(
            rnn, x, np.roll(x, -1, axis=1), optimizer=fastrec.Adam(0.03), **options
        ).train[-1]
    assert final["forward"] > 1.2 and max(final["reverse"], final["bidirectional"]) < 0.1


@pytest.mark.parametrize("models", [None, 2])
def test_pairs_of_states(backend: str, models: int | None) -> None:
    """(h, c) is taken wherever a state is, and then given back as such."""
    rnn, x = network("lstm", backend, models=models, bidirectional=True, num_layers=2), inputs(LENGTHS)
    lead = () if models is None else (models,)
    h, c = (random(seed, *lead, 4, B, 5) for seed in (0, 1))
    whole, targets = np.concatenate([h, c], axis=-1), np.zeros((B, T), int)

    def split(state: Any) -> np.ndarray:
        assert isinstance(state, tuple) and [part.shape for part in state] == [h.shape, c.shape]
        return np.concatenate(state, axis=-1)

    trace, other = rnn.forward(x, (h, c), LENGTHS), rnn.forward(x, whole, LENGTHS)
    close(split(trace.state), other.state)
    close(split(trace.state_at(0)), whole)
    close(split(rnn.split_state(other.state)), other.state)
    assert "state=((" in repr(trace)
    close(split(rnn.predict(x, (h, c), LENGTHS)[1]), other.state)
    close(split(rnn.loss(x, targets, state=(h, c), lengths=LENGTHS)[1]), other.state)
    _, grads, last = rnn.loss_and_gradients(x, targets, state=(h, c), lengths=LENGTHS)
    close(split(last), other.state)
    split(grads["state"])
    found = rnn.backward(trace, d_state=(h, c))
    wanted = rnn.backward(other, d_state=whole)
    close(split(found["state"]), wanted["state"])
    close(found["W_in"], wanted["W_in"])
    with pytest.raises(ValueError, match=r"state\[1\] has shape"):
        rnn.predict(x, (h, c[..., 1:]), LENGTHS)
    close(split(rnn.split_state((h, c))), whole)
    with pytest.raises(
        ValueError, match=r"state has shape .* it must be numbers \(.*4, 4, 10\) or the tuple of"
    ):
        rnn.split_state(h)
    with pytest.raises(ValueError, match=r"state\[1\] holds inf at \[0, .*0\]"):
        rnn.predict(x, (h, c + np.inf), LENGTHS)
    with pytest.raises(ValueError, match=r"d_state\[0\] is not an array"):
        rnn.backward(other, d_state=([[1, 2], [3]], c))


def test_pairs_on_the_device(cp: Any) -> None:
    """They are found inside the tuple: used on the gpu, refused elsewhere as any array of the device."""
    x, pair = inputs(None), tuple(random(seed, 1, B, 5) for seed in (0, 1))
    there = tuple(cp.asarray(part) for part in pair)
    rnn = network("lstm", "gpu")
    for found, wanted in zip(rnn.predict(x, there)[1], rnn.predict(x, pair)[1], strict=True):
        assert np.array_equal(found, wanted)
    with pytest.raises(fastrec.BackendError, match='a CuPy array was given to backend "cpu"'):
        network("lstm", "cpu").predict(x, there)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_no_steps(backend: str, cell: str, direction: str) -> None:
    """After no steps the state is the one before, and its gradient goes through."""
    rnn = network(cell, backend, **({"bidirectional": True} if direction != "forward" else {}))
    x, width = np.zeros((2, 0, 4)), {"jordan": 3}.get(cell, 5 * (1 + ("lstm" in cell)))
    state = random(0, 1 + (direction != "forward"), 2, width)
    outputs, last = rnn.predict(x, state)
    assert outputs.shape == (2, 0, 3) and np.array_equal(last, state)
    assert rnn.predict(np.zeros((2, 0), int))[1].shape == state.shape
    trace = rnn.forward(x)
    close(to_host({"a": trace.state})["a"][0, 0, :5], to_host(rnn.parameters)["h0"].reshape(-1)[:width][:5])
    grads = to_host(rnn.backward(trace, d_state=state, flow=True))
    assert np.array_equal(grads["state"], state) and not grads["W_rec"].any() and grads["x"].shape == x.shape
    close(grads["h0"].reshape(-1)[: min(width, 5)], state.sum(axis=1)[0, :5])
    targets = np.zeros((2, 0), int)
    for refused in (lambda: rnn.loss_and_gradients(x, targets), lambda: fastrec.classify(rnn, x)):
        with pytest.raises(ValueError, match=r"x (is empty|has no steps)"):
            refused()
