"""Recurrent networks with arrays of the device: CuPy in gives CuPy out, and what crosses to the host when."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from devices import crossing, to_host

import fastrec
from fastrec import RNN, SGD, Adam, BackendError, History, addition, fit, gradient_flow, truncated_bptt
from fastrec.backend import backend_of, move, on_device
from fastrec.cli.addition import addition as addition_command
from fastrec.cli.options import Cell
from fastrec.rnn.validation import Purpose

# Cell, layers, output size.
KINDS = [("elman", 1, 3), ("elman", 2, None), ("jordan", 1, 3), ("gru", 1, 3), ("lstm", 2, 3)]
T = 5
LENGTHS = np.array([5, 0, 3])


def random(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def network(backend: str | None, cell: str = "lstm", layers: int = 1, o: int | None = 3, **more: Any) -> RNN:
    return RNN(2, 4, o, cell, num_layers=layers, backend=backend, **{"dtype": np.float64, "seed": 1} | more)


def task(models: int | None = None) -> dict[str, Any]:
    """Inputs, targets and a mask of three sequences."""
    lead = (models,) if models else ()
    return {
        "x": random(1, *lead, 3, T, 2),
        "targets": random(2, *lead, 3, T, 3),
        "mask": random(3, 3, T) > -1,
    }


def sent(cp: Any, arrays: dict[str, Any]) -> dict[str, Any]:
    return {key: cp.asarray(a) if isinstance(a, np.ndarray) else a for key, a in arrays.items()}


def close(ours: Any, expected: Any, where: str = "gpu") -> None:
    """An array, or arrays by name, on the device (or on the host) about equal to NumPy's."""
    if isinstance(expected, dict):
        assert ours.keys() == expected.keys()
        for key, array in expected.items():
            close(ours[key], array, where)
        return
    assert backend_of(ours) == where
    assert (ours.dtype, ours.shape) == (np.asarray(expected).dtype, np.shape(expected))
    np.testing.assert_allclose(move(ours, "cpu"), move(expected, "cpu"), rtol=1e-9, atol=1e-11)


def equal(a: dict[str, Any], b: dict[str, Any]) -> bool:
    a, b = to_host(a), to_host(b)
    return a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("models", [None, 2])
@pytest.mark.parametrize(("cell", "layers", "o"), KINDS)
class TestNetwork:
    def pair(
        self, gpu: str, cell: str, layers: int, o: int | None, models: int | None
    ) -> tuple[RNN, RNN, np.ndarray, np.ndarray]:
        """Equal networks of the gpu and of the CPU, inputs and targets."""
        make = [network(name, cell, layers, o, models=models) for name in (gpu, "cpu")]
        lead = (models,) if models else ()
        return make[0], make[1], random(1, *lead, 3, T, 2), random(2, *lead, 3, T, o or 4)

    def test_forward_and_backward(
        self, cp: Any, gpu: str, cell: str, layers: int, o: int | None, models: int | None
    ) -> None:
        rnn, host, x, _ = self.pair(gpu, cell, layers, o, models)
        for lengths, checks in ((None, 1), (LENGTHS, 2)):
            expected = host.forward(x, lengths=lengths)
            given, ends = cp.asarray(x), None if lengths is None else cp.asarray(lengths)
            with crossing(waits=checks):
                trace = rnn.forward(given, lengths=ends)
            for name in ("outputs", "hidden", "state"):
                close(getattr(trace, name), getattr(expected, name))
            with crossing():
                states = [trace.state_at(t) for t in (0, 2, T)]
            for state, t in zip(states, (0, 2, T), strict=True):
                close(state, expected.state_at(t))
            with crossing(waits=checks):
                outputs, state = rnn.predict(given, lengths=ends)
            close(outputs, expected.outputs)
            close(state, expected.state)
            d = [random(seed, *a.shape) for seed, a in enumerate((expected.outputs, expected.hidden, state))]
            wanted = host.backward(expected, *d, flow=True)
            d_outputs, d_hidden, d_state = map(cp.asarray, d)
            with crossing(waits=3):
                found = rnn.backward(trace, d_outputs, d_hidden, d_state, flow=True)
            close(found, wanted)
            with crossing(to_device=1):
                found = rnn.backward(trace, d[0])
            close(found, host.backward(expected, d[0]))

    def test_arrays_of_the_host(
        self, gpu: str, cell: str, layers: int, o: int | None, models: int | None
    ) -> None:
        rnn, host, x, targets = self.pair(gpu, cell, layers, o, models)
        expected = host.forward(x, host.forward(x).state, LENGTHS)
        read = 2 + (o is not None)  # outputs, state, and hidden units if they are something else
        with crossing(to_device=3, to_host=read, waits=read):
            trace = rnn.forward(x, host.forward(x).state, LENGTHS)
        for name in ("outputs", "hidden", "state"):
            close(getattr(trace, name), getattr(expected, name), "cpu")
        with crossing(to_host=1, waits=1):
            state = trace.state_at(2)
        close(state, expected.state_at(2), "cpu")
        d = random(4, *expected.outputs.shape)
        wanted = host.backward(expected, d)
        with crossing(to_device=1, to_host=len(wanted), waits=len(wanted)):
            found = rnn.backward(trace, d)
        close(found, wanted, "cpu")
        with crossing(to_device=1, to_host=2, waits=2):
            rnn.predict(x)
        with crossing(to_device=2, to_host=2, waits=2):
            value, _ = rnn.loss(x, targets, "mse")
        expected_value, wanted, last = host.loss_and_gradients(x, targets, "mse")
        np.testing.assert_allclose(value, expected_value, rtol=1e-12)
        with crossing(to_device=2, to_host=2 + len(wanted), waits=2 + len(wanted)):
            value, found, state = rnn.loss_and_gradients(x, targets, "mse")
        np.testing.assert_allclose(value, expected_value, rtol=1e-12)
        close(found, wanted, "cpu")
        close(state, last, "cpu")

    def test_losses(
        self, cp: Any, gpu: str, cell: str, layers: int, o: int | None, models: int | None
    ) -> None:
        rnn, host, x, targets = self.pair(gpu, cell, layers, o, models)
        classes = np.arange(3 * T).reshape(3, T) % 3
        mask = random(3, 3, T) > -1
        for loss, goal in (("mse", targets), ("cross_entropy", classes)):
            expected, wanted, last = host.loss_and_gradients(x, goal, loss)
            given = cp.asarray(x), cp.asarray(goal), loss
            with crossing(to_host=1, waits=3):  # x and targets are looked at, the loss is read
                value, found, state = rnn.loss_and_gradients(*given)
            assert isinstance(value, float if models is None else np.ndarray)
            np.testing.assert_allclose(value, expected, rtol=1e-12)
            close(found, wanted)
            close(state, last)
            with crossing(to_host=1, waits=3):
                value, state = rnn.loss(*given)
            np.testing.assert_allclose(value, expected, rtol=1e-12)
            close(state, last)
            expected = host.loss(x, goal, loss, "sum", LENGTHS, mask)[0]
            with crossing(to_device=2, to_host=1, waits=3):
                value, _ = rnn.loss(*given, "sum", LENGTHS, mask)
            np.testing.assert_allclose(value, expected, rtol=1e-12)
            ends, some = cp.asarray(LENGTHS), cp.asarray(mask)
            with crossing(to_host=1, waits=5):  # lengths, x, how many steps count, targets; the loss
                value, _ = rnn.loss(*given, "sum", ends, some)
            np.testing.assert_allclose(value, expected, rtol=1e-12)
            for mixed in ((LENGTHS, some), (ends, mask)):
                value = rnn.loss(x, goal, loss, "sum", *mixed)[0]
                np.testing.assert_allclose(value, expected, rtol=1e-12)

    def test_parameters_move_with_the_backend(
        self, gpu: str, cell: str, layers: int, o: int | None, models: int | None
    ) -> None:
        _, host, x, _ = self.pair(gpu, cell, layers, o, models)
        rnn = network(None, cell, layers, o, models=models)
        expected = host.forward(x).outputs
        for name in (gpu, "cpu", gpu, "reference", gpu):
            with fastrec.use_backend(name):
                close(rnn.forward(x).outputs, expected, "cpu")
                assert {backend_of(array) for array in rnn.parameters.values()} == {home_of(name)}
                assert backend_of(rnn.copy().parameters["W_in"]) == home_of(name)
        assert equal(rnn.parameters, host.parameters)

    def test_bits_repeat(self, gpu: str, cell: str, layers: int, o: int | None, models: int | None) -> None:
        rnn, _, x, targets = self.pair(gpu, cell, layers, o, models)
        a, b = (rnn.loss_and_gradients(x, targets, "mse", lengths=LENGTHS) for _ in "ab")
        assert np.array_equal(a[0], b[0])
        assert equal(a[1], b[1])


def home_of(backend: str) -> str:
    return "gpu" if backend == "gpu" else "cpu"


class TestParameters:
    def test_those_of_the_gpu_are_there(self, cp: Any, gpu: str, tmp_path: Path) -> None:
        rnn = network(gpu)
        rnn.save(tmp_path / "a.npz")
        for one in (
            rnn,
            rnn.copy(),
            RNN.load(tmp_path / "a.npz", backend=gpu),
            network(gpu, models=2).copy(1),
        ):
            assert all(map(on_device, one.parameters.values()))
        assert equal(rnn.parameters, network("cpu").parameters)
        assert equal(rnn.parameters, RNN.load(tmp_path / "a.npz", backend="cpu").parameters)

    def test_may_be_replaced_and_written(self, cp: Any, gpu: str) -> None:
        rnn, x = network(gpu), cp.asarray(random(1, 3, T, 2))
        expected = rnn.forward(x).outputs
        kept = rnn.parameters
        rnn.parameters = to_host(kept)
        assert equal({"y": rnn.forward(x).outputs}, {"y": expected})
        assert all(map(on_device, rnn.parameters.values()))
        rnn.parameters["W_out"] = np.zeros((4, 3))
        with crossing(to_device=1, waits=1):
            outputs = rnn.forward(x).outputs
        assert not move(outputs, "cpu").any()  # b_out is 0
        rnn.parameters["W_out"] = kept["W_out"]
        with crossing(waits=1):
            rnn.forward(x)
        rnn.parameters["b_out"][...] = 1
        close(rnn.forward(x).outputs, move(expected, "cpu") + 1)

    @pytest.mark.parametrize(
        "change",
        [
            lambda cp, a: cp.asarray(a, dtype=np.float32),
            lambda cp, a: cp.asarray(a)[:, :8],
            lambda cp, a: cp.asarray(a.T.copy()).T,
        ],
    )
    def test_those_that_do_not_fit(self, cp: Any, gpu: str, change: Callable[[Any, np.ndarray], Any]) -> None:
        for name in (gpu, "cpu"):
            rnn = network(name)
            rnn.parameters["W_in"] = change(cp, to_host(rnn.parameters)["W_in"])
            with pytest.raises(
                ValueError, match=r'parameters\["W_in"\] is .*; it must be \(2, 16\), float64'
            ):
                rnn.forward(random(1, 3, T, 2))

    @pytest.mark.parametrize("twin", [copy.deepcopy, lambda rnn: pickle.loads(pickle.dumps(rnn))])
    def test_copies_are_of_the_host(self, gpu: str, twin: Callable[[RNN], RNN]) -> None:
        rnn, x = network(gpu), random(1, 3, T, 2)
        expected = rnn.forward(x).outputs
        again = twin(rnn)
        assert not any(map(on_device, again.parameters.values()))
        assert all(map(on_device, rnn.parameters.values()))
        assert np.array_equal(again.forward(x).outputs, expected)

    def test_torch(self, gpu: str) -> None:
        torch = pytest.importorskip("torch")
        rnn, x = network(gpu, "gru"), random(1, 3, T, 2)
        module, output = rnn.to_torch()
        np.testing.assert_allclose(output(module(torch.tensor(x))[0]).detach(), rnn.predict(x)[0], rtol=1e-9)
        again = RNN.from_torch(module, output, backend=gpu)
        assert all(map(on_device, again.parameters.values()))
        np.testing.assert_allclose(again.predict(x)[0], rnn.predict(x)[0], rtol=1e-9)


class TestInputs:
    NAN = np.zeros((3, T, 2))
    NAN[1, 3, 0] = np.nan

    @pytest.mark.parametrize(
        "arguments",
        [
            {"x": NAN},
            {"x": NAN, "lengths": np.array([5, 4, 5])},
            {"x": np.full((3, T, 2), -np.inf)},
            {"x": np.full((3, T, 2), 1e300)},
            {"x": np.zeros((3, T, 3))},
            {"x": np.zeros((3, 0, 2))},
            {"x": np.zeros((3, T, 2), complex)},
            {"x": np.full((3, T), 2)},
            {"x": np.full((3, T), -1, np.int8)},
            {"state": np.full((1, 3, 8), np.nan)},
            {"state": np.zeros((1, 3, 4))},
            {"lengths": np.array([5, 6, 1])},
            {"lengths": np.array([5.0, 4.0, 1.0])},
            {"lengths": np.zeros(3, int)},
            {"mask": np.zeros((3, T), bool)},
            {"mask": np.ones((3, T))},
            {"targets": np.full((3, T), 3)},
            {"targets": np.zeros((3, T))},
            {"targets": np.full((3, T, 3), np.nan), "loss": "mse"},
        ],
    )
    def test_errors_are_those_of_numpy(self, cp: Any, gpu: str, arguments: dict[str, Any]) -> None:
        rnn = network(gpu, dtype=np.float32)
        given = {"x": np.zeros((3, T, 2)), "targets": np.zeros((3, T), int)} | arguments
        for call in (rnn.loss, rnn.loss_and_gradients):
            with pytest.raises(ValueError, match=r".") as expected:
                call(**given)
            with pytest.raises(ValueError, match=r".") as found:
                call(**sent(cp, given))
            assert str(found.value) == str(expected.value)

    def test_padding_may_hold_anything(self, cp: Any, gpu: str) -> None:
        rnn, x, targets = network(gpu), random(1, 3, T, 2), np.zeros((3, T), int)
        padding = np.arange(T) >= LENGTHS[:, None]
        options = {"lengths": LENGTHS}
        expected = rnn.loss_and_gradients(x, targets, **options)
        x[padding], targets[padding] = np.nan, 99
        for ends in (LENGTHS, cp.asarray(LENGTHS)):
            given = cp.asarray(x), cp.asarray(targets)
            found = rnn.loss_and_gradients(*given, lengths=ends)
            assert found[0] == expected[0]
            assert equal(found[1], expected[1])
            assert np.isnan(move(given[0], "cpu")[padding]).all()
        tokens = np.where(padding, -7, 1)
        assert equal(
            {"y": rnn.forward(cp.asarray(tokens), lengths=LENGTHS).outputs},
            {"y": rnn.forward(np.ones_like(tokens), lengths=LENGTHS).outputs},
        )

    def test_narrow_integers(self, cp: Any, gpu: str) -> None:
        """Whose dtype holds neither the number of tokens nor that of steps."""
        rnn = RNN(300, 4, backend=gpu, seed=0)
        tokens = np.arange(2 * 200).reshape(2, 200) % 100
        expected = rnn.predict(tokens, lengths=[100, 90])[0]
        for dtype in (np.int8, np.uint8):
            given = cp.asarray(tokens.astype(dtype)), None, cp.asarray(np.array([100, 90], dtype))
            assert np.array_equal(move(rnn.predict(*given)[0], "cpu"), expected)

    @pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i4", "?"])
    def test_dtypes_and_layouts(self, cp: Any, gpu: str, dtype: str) -> None:
        rnn = network(gpu)
        x = (random(1, 3, T, 2) > 0).astype(dtype)
        expected = rnn.forward(x.astype(float)).outputs
        for given in (cp.asarray(x), cp.asarray(x[..., ::-1].copy())[..., ::-1]):
            assert np.array_equal(move(rnn.forward(given).outputs, "cpu"), expected)

    def test_private_copies_stay_on_the_device(self, cp: Any, gpu: str) -> None:
        """What `backward` reads later, and tokens, with which kernels index."""
        rnn = network(gpu)
        x, tokens = cp.zeros((3, T, 2)), cp.zeros((3, T), dtype=np.int32)
        assert rnn._read(x, None, None, Purpose.OUTPUTS).x.data.ptr == x.data.ptr
        with crossing(waits=1):
            assert rnn.forward(x)._batch.x.data.ptr != x.data.ptr
        with crossing(waits=1):
            trace = rnn.forward(tokens)
        assert trace._batch.tokens.data.ptr != tokens.data.ptr

    def test_stay_on_the_gpu(self, cp: Any, gpu: str) -> None:
        rnn, given = network("cpu"), {"x": random(1, 3, T, 2), "targets": random(2, 3, T, 3), "loss": "mse"}
        more = {"lengths": np.array([5, 4, 3]), "mask": np.ones((3, T), bool), "state": np.zeros((1, 3, 8))}
        rnn.loss(**given, **more)
        for key in ("x", "targets", *more):
            arguments = given | more
            arguments[key] = cp.asarray(arguments[key])
            for call in (
                lambda arguments=arguments: rnn.loss(**arguments),
                lambda arguments=arguments: truncated_bptt(rnn, k1=2, **arguments),
                lambda arguments=arguments: gradient_flow(rnn, **arguments),
            ):
                with pytest.raises(BackendError, match='a CuPy array was given to backend "cpu"'):
                    call()
        trace = rnn.forward(given["x"])
        with pytest.raises(BackendError, match="CuPy"):
            rnn.backward(trace, cp.asarray(trace.outputs))
        with pytest.raises(BackendError, match="CuPy"):
            fit(rnn, cp.asarray(given["x"]), given["targets"], loss="mse", seed=0)
        with pytest.raises(BackendError, match="CuPy"):
            fit(rnn, **given, validation=(given["x"], cp.asarray(given["targets"])), seed=0)
        gradients = {key: cp.asarray(value) for key, value in rnn.parameters.items()}
        with pytest.raises(BackendError, match="CuPy"):
            SGD(0.1).step(rnn.parameters, gradients, backend="cpu")

    def test_auto_takes_the_gpu_for_its_arrays(self, cp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("FASTREC_BACKEND")
        rnn, x = network(None), random(1, 3, T, 2)
        assert rnn.backend == "gpu"
        close(rnn.forward(cp.asarray(x)).outputs, network("cpu").forward(x).outputs)
        monkeypatch.setenv("FASTREC_BACKEND", "cpu")
        with pytest.raises(BackendError, match="CuPy"):
            rnn.forward(cp.asarray(x))
        close(rnn.forward(x).outputs, network("cpu").forward(x).outputs, "cpu")


class TestMemory:
    """Refused before anything is allocated or moved, by the memory of the device."""

    def test_batches(self, cp: Any, gpu: str, free: Any) -> None:
        rnn = RNN(4, 5, 3, "lstm", backend=gpu, seed=0)
        free(10**8)
        tokens = np.zeros((200, 10000), dtype=np.int32)
        message = (
            "a batch of 200 rows and 10000 steps needs 272 MB of memory of the device, 100 MB are available"
        )
        with pytest.raises(ValueError, match=message):
            rnn.forward(tokens)
        with pytest.raises(ValueError, match=message):
            rnn.forward(cp.asarray(tokens))  # which are copied too

    def test_parameters(self, gpu: str, free: Any) -> None:
        rnn = RNN(2, 4100, initial="uniform", seed=0)
        free(6 * 10**7)
        with (
            fastrec.use_backend(gpu),
            pytest.raises(ValueError, match=r"the parameters needs 67\.\d MB of memory of"),
        ):
            rnn.predict(np.zeros((1, 1, 2)))
        assert not any(map(on_device, rnn.parameters.values()))


RULES: list[Callable[..., SGD | Adam]] = [
    lambda: SGD(0.1, momentum=0.9, nesterov=True, clip=0.5),
    lambda: Adam(0.1, weight_decay=0.2, clip=0.5),
    lambda: Adam(0.1),
]


@pytest.mark.parametrize("models", [None, 2])
@pytest.mark.parametrize("rule", range(len(RULES)))
class TestOptimizers:
    def steps(self, optimizer: SGD | Adam, rnn: RNN, count: int) -> None:
        backend, models = rnn.backend, rnn.models
        for seed in range(count):
            gradients = {key: random(seed, *a.shape) for key, a in rnn.parameters.items()}
            optimizer.step(rnn.parameters, gradients, models, backend)

    def test_nothing_moves(self, cp: Any, gpu: str, rule: int, models: int | None) -> None:
        rnn, host = network(gpu, models=models), network("cpu", models=models)
        ours, other = RULES[rule](), RULES[rule]()
        kept = dict(rnn.parameters)
        for seed in range(3):
            gradients = {key: random(seed, *a.shape) for key, a in host.parameters.items()}
            expected = other.step(host.parameters, gradients, models)
            given = sent(cp, gradients)
            with crossing(to_device=seed == 0, to_host=1, waits=1):  # the rate; the norm
                norm = ours.step(rnn.parameters, given, models, gpu)
            np.testing.assert_allclose(norm, expected, rtol=1e-12)
            assert type(norm) is type(expected)
        assert all(rnn.parameters[key] is array for key, array in kept.items())
        close(rnn.parameters, host.parameters)
        ours.learning_rate = 0.01
        for sent_rates in (1, 0):
            with crossing(to_device=sent_rates, to_host=1, waits=1):
                ours.step(rnn.parameters, given, models, gpu)

    def test_arrays_of_the_host(self, cp: Any, gpu: str, rule: int, models: int | None) -> None:
        rnn, twin = network(gpu, models=models), network("cpu", models=models)
        ours, other = RULES[rule](), RULES[rule]()
        for seed in range(2):
            gradients = {key: random(seed, *a.shape) for key, a in rnn.parameters.items()}
            ours.step(rnn.parameters, gradients, models, gpu)
            other.step(twin.parameters, gradients, models, gpu)
        assert not any(map(on_device, twin.parameters.values()))
        assert equal(rnn.parameters, twin.parameters)

    def test_states_move(self, cp: Any, gpu: str, rule: int, models: int | None) -> None:
        ours, rnn = RULES[rule](), network(gpu, models=models)
        self.steps(ours, rnn, 2)
        state = ours.state_dict()
        assert not any(map(on_device, state.values()))
        loaded = RULES[rule]()
        loaded.load_state_dict(sent(cp, state))
        twins = [(one, rnn.copy()) for one in (pickle.loads(pickle.dumps(ours)), copy.deepcopy(ours), loaded)]
        self.steps(ours, rnn, 2)
        for one, own in twins:
            assert not any(on_device(a) for slot in one._state.values() for a in slot.values())
            self.steps(one, own, 2)
            assert equal(own.parameters, rnn.parameters)
        host = network("cpu", models=models)
        host.parameters = to_host(rnn.parameters)
        self.steps(ours, host, 1)
        self.steps(one, own, 1)
        close(own.parameters, host.parameters)

    def test_gradients_that_are_not_finite(self, cp: Any, gpu: str, rule: int, models: int | None) -> None:
        rnn, optimizer = network(gpu, models=models), RULES[rule]()
        before = to_host(rnn.parameters)
        gradients = {key: cp.ones(a.shape) for key, a in rnn.parameters.items()}
        gradients["b"][..., 1] = np.nan
        with pytest.raises(FloatingPointError, match=r'the gradient of "b".* is not finite at step 1'):
            optimizer.step(rnn.parameters, gradients, models, gpu)
        assert equal(rnn.parameters, before)


class TestTraining:
    @pytest.mark.parametrize("models", [None, 2])
    @pytest.mark.parametrize("there", [False, True])
    def test_a_step_moves_inputs_and_a_loss(self, cp: Any, gpu: str, models: int | None, there: bool) -> None:
        """Of 2 batches, one of which has steps that do not count."""
        rnn, optimizer = network(gpu, models=models), Adam(0.1)
        data = {"x": random(1, 4, T, 2), "targets": random(2, 4, T, 3), "mask": np.ones((4, T), bool)}
        data["mask"][0, 1] = False
        if there:
            data |= {"x": cp.asarray(data["x"]), "targets": cp.asarray(data["targets"])}
        options = {"loss": "mse", "optimizer": optimizer, "batch_size": 2, "shuffle": False}
        fit(rnn, **data, **options, epochs=1, seed=0)  # sends the rates
        checks = 2 * there  # once, x and targets
        each = 1 if there else 2  # the rows of a batch, or its x and targets
        with crossing(to_device=3 * (2 * each + 1), to_host=3 * 2, waits=3 * 2 + checks):
            fit(rnn, **data, **options, epochs=3, seed=0)
        held = (np.zeros((2, T), int), random(4, 2, T, 3))
        with crossing(to_device=2 * each + 1 + 2, to_host=3, waits=3 + checks):
            fit(rnn, **data, **options, epochs=1, validation=held, seed=0)

    def test_batches_of_the_device_are_those_of_the_host(self, cp: Any, gpu: str) -> None:
        for models in (None, 2):
            for lengths, k1 in ((None, None), (np.array([5, 2, 4]), 2)):
                data, held = task(models) | {"lengths": lengths}, task() | {"lengths": lengths}
                options = {"loss": "mse", "batch_size": 2, "epochs": 3, "k1": k1}
                found = []
                for backend, there in (("cpu", False), (gpu, False), (gpu, True)):
                    rnn = network(backend, models=models)
                    given, test = (sent(cp, data), sent(cp, held)) if there else (data, held)
                    validation = [test[name] for name in ("x", "targets", "lengths", "mask")]
                    found.append(
                        (fit(rnn, **given, **options, validation=validation, seed=0), rnn.parameters)
                    )
                (host, _), (history, parameters), (resident, others) = found
                assert equal(parameters, others)
                for name in ("train", "validation", "gradient_norm"):
                    assert np.array_equal(getattr(resident, name), getattr(history, name))
                    np.testing.assert_allclose(getattr(history, name), getattr(host, name), rtol=1e-9)

    @pytest.mark.parametrize("models", [None, 2])
    def test_truncation(self, cp: Any, gpu: str, models: int | None) -> None:
        rnn, host, data = network(gpu, models=models), network("cpu", models=models), task()
        data |= {"loss": "mse", "k1": 2, "k2": 3}
        expected = list(truncated_bptt(host, **data))
        given = data | {"x": cp.asarray(data["x"]), "targets": cp.asarray(data["targets"])}
        with crossing(waits=2):
            parts = truncated_bptt(rnn, **given)
        for loss, gradients, state in expected:
            with crossing(to_device=1, to_host=1, waits=1):  # the mask; the loss
                found = next(parts)
            np.testing.assert_allclose(found[0], loss, rtol=1e-12)
            close(found[1], gradients)
            close(found[2], state)
        for found, wanted in zip(truncated_bptt(rnn, **data), expected, strict=True):
            close(found[1], wanted[1], "cpu")
            close(found[2], wanted[2], "cpu")

    @pytest.mark.parametrize(("first", "second"), [("gpu", "cpu"), ("cpu", "gpu"), ("gpu", "gpu")])
    def test_checkpoints_go_on_elsewhere(self, gpu: str, tmp_path: Path, first: str, second: str) -> None:
        def run(backend: str, stop: int | None = None, **more: Any) -> tuple[History, RNN]:
            def interrupt(epoch: int, history: History) -> None:
                if epoch == stop:
                    raise KeyboardInterrupt

            rnn = network(backend, models=2)
            options = {"loss": "mse", "optimizer": Adam([0.1, 0.02]), "epochs": 4, "batch_size": 2}
            return fit(rnn, **task(), **options, callback=interrupt, seed=0, **more), rnn

        path = tmp_path / "a.npz"
        with pytest.raises(KeyboardInterrupt):
            run(first, 2, checkpoint=path)
        history, rnn = run(second, checkpoint=path)
        expected, unbroken = run(second)
        np.testing.assert_allclose(history.train, expected.train, rtol=1e-9)
        close(rnn.parameters, to_host(unbroken.parameters), home_of(second))
        assert first != second or equal(rnn.parameters, unbroken.parameters)

    def test_diverged_networks_stay(self, gpu: str) -> None:
        rnn = network(gpu, "elman", models=3, activation="relu")
        before = to_host(rnn.parameters)
        with np.errstate(all="ignore"):
            history = fit(
                rnn, **task(), loss="mse", optimizer=SGD([0.01, 1e200, 0.02]), epochs=3, batch_size=2, seed=0
            )
        assert (history.diverged >= 0).tolist() == [False, True, False]
        after = to_host(rnn.parameters)
        assert all(np.isfinite(array).all() for array in after.values())
        assert all((after["W_in"] != before["W_in"]).any(axis=(1, 2))[[0, 2]])


def test_diagnostics(cp: Any, gpu: str) -> None:
    rnn, host, data = network(gpu, layers=2), network("cpu", layers=2), task() | {"loss": "mse"}
    expected = gradient_flow(host, **data, lengths=LENGTHS).norms
    for given in (data, sent(cp, data)):
        norms = gradient_flow(rnn, **given, lengths=LENGTHS).norms
        close(norms, expected, "cpu")
    close(fastrec.spectral_radius(rnn), fastrec.spectral_radius(host), "cpu")


def test_addition(gpu: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    addition_module = import_module("fastrec.tasks.addition")  # fastrec.tasks.addition is the function
    count = addition_module.count_errors
    monkeypatch.setattr(addition_module, "count_errors", lambda rnn, task: 0 * count(rnn, task))
    for name, number in (("TRAINED", 64), ("UNSEEN", 4), ("LONG", 3)):
        monkeypatch.setattr(addition_module, name, number)
    options = {"columns": 2, "epochs": 1, "test_pairs": 3, "test_columns": 4}
    result = addition(2, backend=gpu, progress=False, **options)
    assert result.best.backend == gpu
    expected = addition(2, backend="cpu", progress=False, **options)
    np.testing.assert_allclose(result.history.train, expected.history.train, rtol=1e-4)
    path = tmp_path / "a.npz"
    addition_command(2, Cell.lstm, 3, backend="gpu", plot=None, save=path, **options)
    assert "2 of 2 networks add" in capsys.readouterr().out
    assert RNN.load(path, backend="cpu").hidden_size == 3
