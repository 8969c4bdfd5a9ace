"""fastrec.torch against torch.nn: the same numbers, forms, errors and habits."""

from __future__ import annotations

import copy
import io
import os
import pickle
import shutil
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import devices
import numpy as np
import pytest

import fastrec

torch = pytest.importorskip("torch")
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence  # noqa: E402

from fastrec.kernels.cpu.threads import Job, borrow_team  # noqa: E402
from fastrec.torch import arrays, modules, ops, team  # noqa: E402

CELLS = ("tanh", "relu", "GRU", "LSTM")
LENGTHS = [6, 1, 4]


@pytest.fixture(autouse=True)
def every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets kernels compute even a single step."""
    monkeypatch.setattr(modules, "FEWEST", 1)


@pytest.fixture
def computing(backend: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Lets modules compute on each backend, on the gpu with copies of tensors of the CPU."""
    if backend == "gpu":
        devices.compute_tensors_on_gpu(monkeypatch)
    with fastrec.use_backend("reference" if backend == "reference" else "cpu"):
        yield backend


def build(cell: str, *sizes: int, **options: Any) -> tuple[Any, Any]:
    """A module of PyTorch and one of fastrec with the same weights."""
    torch.manual_seed(0)
    name = cell if cell in ("GRU", "LSTM") else "RNN"
    if name == "RNN":
        options["nonlinearity"] = cell
    made = [getattr(package, name)(*(sizes or (4, 5)), **options) for package in (torch.nn, fastrec.torch)]
    made[1].load_state_dict(made[0].state_dict())
    return made[0], made[1]


def draw(seed: int, *shape: int, dtype: Any = torch.float64) -> Any:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape)).to(dtype)


def first_states(module: Any, b: int | None, dtype: Any = torch.float64) -> Any:
    """First states of b rows, or of a single sequence."""
    shape = [module.num_layers * (1 + module.bidirectional), module.hidden_size]
    if b is not None:
        shape.insert(1, b)
    states = tuple(draw(seed, *shape, dtype=dtype) for seed in (1, 2))
    return states if isinstance(module, torch.nn.LSTM) else states[0]


def flat(values: Any) -> list[Any]:
    """The tensors in nested tuples."""
    if isinstance(values, PackedSequence):
        return [values.data]
    if isinstance(values, tuple):
        return [tensor for value in values for tensor in flat(value)]
    return [] if values is None else [values]


def outcome(module: Any, x: Any, hx: Any, pack: Any = None) -> list[Any]:
    """Outputs, last states, and gradients of x, states and weights, where these take one."""
    leaves = [tensor.clone().requires_grad_(tensor.is_floating_point()) for tensor in (x, *flat(hx))]
    x, *states = leaves
    hx = None if hx is None else tuple(states) if isinstance(hx, tuple) else states[0]
    made = flat(module(pack(x) if pack else x, hx))
    given = [draw(10 + i, *tensor.shape, dtype=tensor.dtype) for i, tensor in enumerate(made)]
    module.zero_grad()
    torch.autograd.backward(made, given)
    return [*made, *(leaf.grad for leaf in leaves), *(p.grad for p in module.parameters())]


def assert_close(found: list[Any], expected: list[Any]) -> None:
    assert len(found) == len(expected)
    for value, right in zip(found, expected, strict=True):
        assert (value is None) == (right is None)
        if right is not None:
            assert value.shape == right.shape and value.dtype == right.dtype
            tolerance = 1e-5 if right.dtype == torch.float32 else 1e-11
            largest = right.detach().abs().max().item() if right.numel() else 0.0
            torch.testing.assert_close(value, right, rtol=0, atol=tolerance * (largest + 1e-2))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("lengths", [None, LENGTHS])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_numbers(
    computing: str, cell: str, layers: int, bidirectional: bool, bias: bool, lengths: Any, dtype: Any
) -> None:
    theirs, ours = build(cell, num_layers=layers, bidirectional=bidirectional, bias=bias, dtype=dtype)
    x = draw(0, 6, 3, 4, dtype=dtype)

    def pack(x: Any) -> Any:
        return pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=False)

    for hx in (None, first_states(ours, 3, dtype)):
        right = outcome(theirs, x, hx, pack if lengths else None)
        assert_close(outcome(ours, x, hx, pack if lengths else None), right)


@pytest.mark.parametrize("cell", CELLS)
class TestForms:
    @pytest.mark.parametrize("batch_first", [False, True])
    @pytest.mark.parametrize("shape", [(7, 4), (1, 4), (7, 3, 4), (1, 3, 4), (3, 1, 4), (1, 1, 4)])
    def test_shapes(self, computing: str, cell: str, batch_first: bool, shape: tuple[int, ...]) -> None:
        theirs, ours = build(cell, batch_first=batch_first, bidirectional=True, dtype=torch.float64)
        b = None if len(shape) == 2 else shape[0 if batch_first else 1]
        x = draw(0, *shape)
        assert_close(outcome(ours, x, None), outcome(theirs, x, None))
        assert_close(outcome(ours, x, first_states(ours, b)), outcome(theirs, x, first_states(theirs, b)))

    @pytest.mark.parametrize("enforce_sorted", [False, True])
    def test_packed(self, computing: str, cell: str, enforce_sorted: bool) -> None:
        theirs, ours = build(cell, dtype=torch.float64)
        lengths = torch.tensor(sorted(LENGTHS, reverse=True) if enforce_sorted else LENGTHS)
        x = draw(0, 6, 3, 4)
        x[torch.arange(6)[:, None] >= lengths] = np.nan
        packed = pack_padded_sequence(x, lengths, enforce_sorted=enforce_sorted)
        (found, last), (right, right_last) = ours(packed), theirs(packed)
        assert isinstance(found, PackedSequence)
        for own, other in zip(found[1:], right[1:], strict=True):
            assert own is other or torch.equal(own, other)
        assert_close(flat(last), flat(right_last))
        assert_close([pad_packed_sequence(found)[0]], [pad_packed_sequence(right)[0]])

    def test_strides(self, computing: str, cell: str) -> None:
        theirs, ours = build(cell, batch_first=True, dtype=torch.float64)
        hx = first_states(ours, 3)
        hx = tuple(h.transpose(1, 2).contiguous().transpose(1, 2) for h in flat(hx))
        hx = hx if cell == "LSTM" else hx[0]
        for x in (
            draw(0, 7, 3, 4).transpose(0, 1),
            draw(0, 3, 14, 8)[:, ::2, 1::2],
            draw(0, 1, 7, 4).expand(3, 7, 4),
        ):
            assert_close(flat(ours(x, hx)), flat(theirs(x, hx)))

    def test_form_of_results(self, cell: str) -> None:
        theirs, ours = build(cell, num_layers=2, bidirectional=True)
        x = draw(0, 7, 3, 4, dtype=torch.float32)
        output, last = ours(x)
        assert output.view(7, 3, 2, 5).shape == theirs(x)[0].view(7, 3, 2, 5).shape
        for state in flat(last):
            assert state.view(2, 2, 3, 5).is_contiguous()
        assert isinstance(last, tuple) == (cell == "LSTM")

    def test_what_takes_a_gradient(self, computing: str, cell: str) -> None:
        theirs, ours = build(cell, num_layers=2, dtype=torch.float64)
        x, states = draw(0, 7, 3, 4), flat(first_states(ours, 3))
        names = [name for name, _ in ours.named_parameters()]
        for chosen in ({"x"}, {"hx"}, {"weight_hh_l0"}, {"bias_ih_l1", "x"}, set(names)):
            results = []
            for module in (theirs, ours):
                for name, parameter in module.named_parameters():
                    parameter.requires_grad_(name in chosen)
                    parameter.grad = None
                own = x.clone().requires_grad_("x" in chosen)
                hx = tuple(state.clone().requires_grad_("hx" in chosen) for state in states)
                output, last = module(own, hx if cell == "LSTM" else hx[0])
                (output.sum() + flat(last)[0].square().sum()).backward()
                results.append([own.grad, *(h.grad for h in hx), *(p.grad for p in module.parameters())])
            assert_close(results[1], results[0])

    @pytest.mark.parametrize("part", [0, 1])
    def test_one_result_alone(self, computing: str, cell: str, part: int) -> None:
        grads = []
        for module in build(cell, dtype=torch.float64):
            result = module(draw(0, 7, 3, 4))[part]
            flat(result)[-1].square().sum().backward()
            grads.append([p.grad for p in module.parameters()])
        assert_close(grads[1], grads[0])

    def test_nan_stays_in_its_row(self, computing: str, cell: str) -> None:
        theirs, ours = build(cell, dtype=torch.float64)
        x = draw(0, 7, 3, 4)
        x[3, 1, 2] = np.nan
        found, right = ours(x)[0], theirs(x)[0]
        assert torch.equal(found.isnan(), right.isnan()) and found.isnan().any()
        torch.testing.assert_close(found, right, equal_nan=True)


@pytest.mark.parametrize("cell", CELLS[:1] + CELLS[2:])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("lengths", [None, [4, 1]])
def test_finite_differences(cell: str, layers: int, bidirectional: bool, bias: bool, lengths: Any) -> None:
    options = {
        "num_layers": layers,
        "bidirectional": bidirectional,
        "bias": bias,
        "dropout": 0.4 * (layers > 1),
    }
    _, ours = build(cell, 2, 3, dtype=torch.float64, **options)
    names = [name for name, _ in ours.named_parameters()]
    states = flat(first_states(ours, 2))

    def run(x: Any, *rest: Any) -> Any:
        torch.manual_seed(3)  # the same units are left out
        given = x if lengths is None else pack_padded_sequence(x, torch.tensor(lengths))
        for name, weight in zip(names, rest[len(states) :], strict=True):
            delattr(ours, name) if name in ours._parameters else None
            setattr(ours, name, weight)
        return tuple(flat(ours(given, rest[: len(states)] if cell == "LSTM" else rest[0])))

    weights = [p.detach().clone().requires_grad_() for p in ours.parameters()]
    inputs = (draw(0, 4, 2, 2).requires_grad_(), *(s.requires_grad_() for s in states), *weights)
    assert torch.autograd.gradcheck(run, inputs, fast_mode=True)
    with pytest.raises(NotImplementedError, match=r"fastrec.torch has no second derivatives; where they are"):
        torch.autograd.gradgradcheck(run, inputs, fast_mode=True)


@pytest.mark.parametrize("seeds", [range(12), pytest.param(range(12, 300), marks=pytest.mark.slow)])
def test_random_configurations(seeds: range) -> None:
    for seed in seeds:
        rng = np.random.default_rng(seed)
        flags = {name: bool(rng.integers(2)) for name in ("bias", "batch_first", "bidirectional")}
        sizes = [int(rng.choice([1, 2, 7, 8, 31, 32, 33, 65])) for _ in range(2)]
        layers, t, b = int(rng.integers(1, 4)), int(rng.integers(1, 20)), int(rng.integers(1, 10))
        theirs, ours = build(str(rng.choice(CELLS)), *sizes, num_layers=layers, **flags)
        x = draw(seed, b, t, sizes[0], dtype=torch.float32)
        lengths = torch.from_numpy(rng.integers(1, t + 1, b))
        lengths[rng.integers(b)] = t
        pack = None
        if packed := bool(rng.integers(2)):
            pack = lambda x, first=flags["batch_first"], ends=lengths: pack_padded_sequence(  # noqa: E731
                x, ends, batch_first=first, enforce_sorted=False
            )
        x = x if flags["batch_first"] else x.transpose(0, 1)
        if b == 1 and not packed and rng.integers(2):
            x, b = x.flatten(0, 1), None
        hx = first_states(ours, b, torch.float32) if rng.integers(2) else None
        assert_close(outcome(ours, x, hx, pack), outcome(theirs, x, hx, pack))


@pytest.mark.each_value
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    "optimizer",
    [
        lambda p: torch.optim.SGD(p, 0.05, momentum=0.9),
        lambda p: torch.optim.Adam(p, 0.01, foreach=True),
        lambda p: torch.optim.Adam(p, 0.01, fused=True),
        lambda p: torch.optim.AdamW(p, 0.01),
        lambda p: torch.optim.LBFGS(p, max_iter=2, line_search_fn="strong_wolfe"),
    ],
    ids=["sgd", "foreach", "fused", "adamw", "lbfgs"],
)
def test_training(cell: str, optimizer: Any) -> None:
    curves = []
    for module in build(cell, 3, 8, batch_first=True, dtype=torch.float64):
        x = draw(0, 4, 9, 3)
        readout = torch.nn.Linear(8, 1, dtype=torch.float64)
        with torch.no_grad():
            readout.weight.fill_(0.1)
            readout.bias.fill_(0)
        steps = optimizer([*module.parameters(), *readout.parameters()])
        curve = []

        def loss(module=module, x=x, readout=readout, steps=steps, curve=curve):
            steps.zero_grad()
            value = (readout(module(x)[0])[..., 0] - x.sum(-1).cumsum(1)).square().mean()
            value.backward()
            torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            curve.append(value.item())
            return value

        for _ in range(20):
            steps.step(loss)
        curves.append(curve)
    assert curves[1] == pytest.approx(curves[0], rel=1e-6)
    assert curves[1][-1] < curves[1][0]


@pytest.mark.parametrize("cell", CELLS)
class TestModules:
    def test_is_a_module_of_torch(self, cell: str) -> None:
        theirs, ours = build(cell, num_layers=2, bidirectional=True)
        assert isinstance(ours, type(theirs)) and repr(ours) == repr(theirs)
        assert ours.state_dict().keys() == theirs.state_dict().keys()
        theirs.load_state_dict(ours.state_dict())
        for parameter in ours.parameters():
            assert parameter.view(-1).is_contiguous()  # as torch.nn.utils.parameters_to_vector needs it
        torch.manual_seed(5)
        ours.reset_parameters()
        torch.manual_seed(5)
        theirs.reset_parameters()
        assert all(torch.equal(*pair) for pair in zip(ours.parameters(), theirs.parameters(), strict=True))

    def test_copies(self, cell: str) -> None:
        _, ours = build(cell, num_layers=2)
        x, file = draw(0, 7, 3, 4, dtype=torch.float32), io.BytesIO()
        torch.save(ours, file)
        file.seek(0)
        for other in (
            copy.deepcopy(ours),
            pickle.loads(pickle.dumps(ours)),
            torch.load(file, weights_only=False),
        ):
            assert type(other) is type(ours)
            assert torch.equal(other(x)[0], ours(x)[0])
            assert not any(a is b for a, b in zip(ours.parameters(), other.parameters(), strict=True))

    def test_moves(self, cell: str) -> None:
        _, ours = build(cell)
        assert ours.double()(draw(0, 7, 3, 4))[0].dtype == torch.float64
        assert ours.to(torch.float32)(draw(0, 7, 3, 4, dtype=torch.float32))[0].dtype == torch.float32

    def test_memory_is_shared(self, cell: str) -> None:
        _, ours = build(cell, batch_first=True)
        x = draw(0, 3, 7, 4, dtype=torch.float32)
        assert np.shares_memory(arrays.array_of(x, "cpu"), x.numpy())
        places: list[int] = []
        ours.weight_hh_l0.register_hook(lambda gradient: places.append(gradient.data_ptr()))
        ours(x)[0].sum().backward()
        assert [ours.weight_hh_l0.grad.data_ptr()] == places  # autograd takes it as it is
        assert len({p.grad.untyped_storage().data_ptr() for p in ours.parameters()}) == 4

    def test_graph(self, cell: str) -> None:
        _, ours = build(cell, dtype=torch.float64)
        x = draw(0, 7, 3, 4).requires_grad_()
        output, last = ours(x)
        loss = output.square().sum() + flat(last)[-1].sum()
        loss.backward(retain_graph=True)
        first = [p.grad.clone() for p in ours.parameters()]
        ours.zero_grad()
        loss.backward()
        assert all(torch.equal(p.grad, g) for p, g in zip(ours.parameters(), first, strict=True))
        with pytest.raises(RuntimeError, match="backward through the graph a second time"):
            loss.backward()
        output, _ = ours(x)
        doubled = output * 2
        output.detach().zero_()
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            doubled.sum().backward()
        output, _ = ours(x)
        with torch.no_grad():
            for parameter in ours.parameters():
                parameter.mul_(2)  # later than what the gradients are of
        ours.zero_grad()
        output.square().sum().backward()
        again = ours.weight_hh_l0.grad.clone()
        with torch.no_grad():
            for parameter in ours.parameters():
                parameter.div_(2)
        ours.zero_grad()
        ours(x)[0].square().sum().backward()
        assert torch.equal(ours.weight_hh_l0.grad, again)

    def test_given_gradients_stay(self, cell: str) -> None:
        _, ours = build(cell, batch_first=True, dtype=torch.float64)
        given = draw(3, 3, 7, 5)
        ours(draw(0, 3, 7, 4))[0].backward(given)
        assert torch.equal(given, draw(3, 3, 7, 5))

    def test_memory_is_freed(self, cell: str) -> None:
        """After the pass back, though the output is still there."""
        _, ours = build(cell, batch_first=True, dtype=torch.float64)
        memory = draw(0, 3, 7, 4).numpy()
        output, _ = ours(torch.from_numpy(memory))
        output.sum().backward()
        alive = weakref.ref(memory)
        del memory
        assert alive() is None

    def test_second_derivatives_of_weights(self, cell: str) -> None:
        _, ours = build(cell, dtype=torch.float64)
        weights = list(ours.parameters())
        first = torch.autograd.grad(ours(draw(0, 7, 3, 4))[0].sum(), weights, create_graph=True)
        with pytest.raises(NotImplementedError, match=r"fastrec.torch has no second derivatives"):
            torch.autograd.grad(first[0].sum(), weights)

    def test_without_gradients(self, computing: str, cell: str) -> None:
        theirs, ours = build(cell, num_layers=2, bidirectional=True, dtype=torch.float64)
        x = draw(0, 7, 3, 4)
        with torch.no_grad():
            assert_close(flat(ours(x)), flat(theirs(x)))
            assert not ours(x)[0].requires_grad
        with torch.inference_mode():
            assert_close(flat(ours(x)), flat(theirs(x)))
            assert ours(x)[0].is_inference()
        assert_close(flat(ours.requires_grad_(False)(x)), flat(theirs(x)))

    def test_ways_of_calling(self, cell: str) -> None:
        theirs, ours = build(cell, num_layers=2, dtype=torch.float64)
        x = draw(0, 7, 3, 4)
        values = {name: p.detach() * 2 for name, p in ours.named_parameters()}

        def loss(module: Any, values: Any) -> Any:
            return torch.func.functional_call(module, values, (x,))[0].square().sum()

        leaves = {name: value.clone().requires_grad_() for name, value in values.items()}
        loss(ours, leaves).backward()
        right = torch.func.grad(lambda values: loss(theirs, values))(values)
        assert_close([leaf.grad for leaf in leaves.values()], list(right.values()))
        assert_close(
            list(torch.func.grad(lambda values: loss(ours, values))(values).values()), list(right.values())
        )
        seen = []
        ours.register_forward_hook(lambda module, given, result: seen.append(result[0].shape))
        torch.nn.DataParallel(ours)(x)
        assert seen == [(7, 3, 5)]

    def test_weight_norm(self, cell: str) -> None:
        theirs, ours = build(cell, dtype=torch.float64)
        x = draw(0, 7, 3, 4)
        torch.nn.utils.parametrizations.weight_norm(ours, "weight_hh_l0")
        ours(x)[0].square().sum().backward()
        assert ours.parametrizations.weight_hh_l0.original1.grad.abs().sum() > 0
        assert_close([ours(x)[0]], [theirs(x)[0]])
        with torch.no_grad():
            ours.parametrizations.weight_hh_l0.original0.mul_(2)
            theirs.weight_hh_l0.mul_(2)
        assert_close([ours(x)[0]], [theirs(x)[0]])

    def test_autocast(self, cell: str) -> None:
        _, ours = build(cell)
        before = torch.nn.Linear(4, 4)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            x = before(draw(0, 7, 3, 4, dtype=torch.float32))
            assert x.dtype == torch.bfloat16
            output, _ = ours(x)
        assert output.dtype == torch.float32
        output.sum().backward()
        assert before.weight.grad.abs().sum() > 0
        with pytest.raises(
            ValueError, match=r"input is torch.bfloat16 on cpu, the first weight torch.float32"
        ):
            ours(x)


class TestDropout:
    def test_repeatable(self) -> None:
        theirs, ours = build("GRU", num_layers=3, dropout=0.5)
        x = draw(0, 7, 3, 4, dtype=torch.float32)
        torch.manual_seed(1)
        found = [ours(x)[0] for _ in range(2)]
        torch.manual_seed(1)
        assert torch.equal(ours(x)[0], found[0]) and not torch.equal(*found)
        torch.manual_seed(1)
        checkpointed = torch.utils.checkpoint.checkpoint(lambda x: ours(x)[0], x, use_reentrant=False)
        assert torch.equal(checkpointed, found[0])
        checkpointed.square().sum().backward()
        grads = [p.grad.clone() for p in ours.parameters()]
        ours.zero_grad()
        found[0].square().sum().backward()
        assert_close([p.grad for p in ours.parameters()], grads)
        before = torch.random.get_rng_state()
        assert_close([ours.eval()(x)[0]], [theirs.eval()(x)[0]])
        assert torch.equal(torch.random.get_rng_state(), before)

    def test_share(self) -> None:
        _, ours = build("relu", 1, 64, num_layers=2, dropout=0.25, bias=False)
        with torch.no_grad():
            for name, parameter in ours.named_parameters():
                parameter.fill_(1 if name == "weight_ih_l0" else 0)
            ours.weight_ih_l1.copy_(torch.eye(64))
        output, _ = ours(torch.ones(50, 20, 1))
        assert output.unique().tolist() == pytest.approx([0, 1 / 0.75])
        assert (output == 0).double().mean().item() == pytest.approx(0.25, abs=0.01)

    def test_all(self) -> None:
        theirs, ours = build("GRU", num_layers=2, dropout=1.0)
        x = draw(0, 7, 3, 4, dtype=torch.float32)
        assert_close([ours(x)[0]], [theirs(x)[0]])


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")
class TestCompilers:
    @pytest.fixture(autouse=True)
    def dynamo(self) -> Iterator[None]:
        import torch._dynamo

        torch._dynamo.reset()
        with torch._dynamo.config.patch(allow_rnn=True):
            yield
        torch._dynamo.reset()

    @pytest.mark.parametrize("cell", CELLS)
    @pytest.mark.parametrize("layers", [1, 2])
    @pytest.mark.parametrize("bidirectional", [False, True])
    @pytest.mark.parametrize("compiler", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
    def test_compile(self, cell: str, layers: int, bidirectional: bool, compiler: str) -> None:
        if compiler == "inductor" and not shutil.which("g++"):
            pytest.skip("no compiler of C++")
        options = {"num_layers": layers, "bidirectional": bidirectional, "dropout": 0.5 * (layers > 1)}
        _, ours = build(cell, dtype=torch.float64, **options)

        class Model(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.rnn = ours

            def forward(self, x: Any, hx: Any = None) -> Any:
                output, last = self.rnn(x.tanh(), hx)
                return output * 2, last

        model, x, hx = Model().eval(), draw(0, 7, 3, 4), first_states(ours, 3)
        right = outcome_of(model, ours, x, hx)
        assert_close(outcome_of(torch.compile(model, fullgraph=True, backend=compiler), ours, x, hx), right)
        with torch.no_grad():
            assert_close(flat(torch.compile(model, fullgraph=True, backend=compiler)(x)), flat(model(x)))
        if layers > 1 and compiler == "aot_eager":
            model.train()
            torch.manual_seed(1)
            found = torch.compile(model, fullgraph=True, backend=compiler)(x)
            torch.manual_seed(1)
            assert_close(flat(found), flat(model(x)))

    def test_packed(self) -> None:
        _, ours = build("GRU", dtype=torch.float64)
        packed = pack_padded_sequence(draw(0, 6, 3, 4), torch.tensor(LENGTHS), enforce_sorted=False)
        compiled = torch.compile(ours, backend="aot_eager")
        assert_close(flat(compiled(packed)), flat(ours(packed)))

    def test_without_the_setting(self) -> None:
        _, ours = build("LSTM", dtype=torch.float64)
        x, hx = draw(0, 7, 3, 4), first_states(ours, 3)
        right = outcome_of(ours, ours, x, hx)
        with torch._dynamo.config.patch(allow_rnn=False):
            assert_close(outcome_of(torch.compile(ours, backend="aot_eager"), ours, x, hx), right)

    @pytest.mark.parametrize(
        "plan", [("GRU", 5, 2, True, 0), ("LSTM", 5, 1, False, 0), ("RNN_TANH", 5, 2, False, 999)]
    )
    @pytest.mark.parametrize("packed", [False, True])
    def test_operator(self, plan: tuple[Any, ...], packed: bool) -> None:
        mode, _, layers, bidirectional, threshold = plan
        cell = mode.removeprefix("RNN_").lower() if mode.startswith("RNN") else mode
        module, _ = build(cell, num_layers=layers, bidirectional=bidirectional, dtype=torch.float64)
        x = draw(0, *((9, 4) if packed else (3, 6, 4))).requires_grad_()
        sizes = torch.tensor([3, 3, 2, 1]) if packed else None
        key, hx = torch.tensor(7) if threshold else None, flat(first_states(module, 3))
        given = (x, sizes, key, [h.requires_grad_() for h in hx], list(module.parameters()), *plan, 3, True)
        # What is kept of packed batches holds anything after the end of a row, which is compared otherwise.
        tests = ["test_schema", "test_autograd_registration", "test_faketensor"]
        tests += [] if packed else ["test_aot_dispatch_dynamic"]
        torch.library.opcheck(ops.forward, given, test_utils=tests)

    @pytest.mark.filterwarnings("ignore:The tensor attributes:UserWarning")
    def test_export(self) -> None:
        theirs, ours = build("GRU", num_layers=2, dtype=torch.float64)
        x = draw(0, 7, 3, 4)
        for made in (torch.jit.trace(ours, (x,)), torch.export.export(ours, (x,)).module()):
            assert_close(flat(made(x + 1)), flat(theirs(x + 1)))


def outcome_of(model: Any, module: Any, x: Any, hx: Any) -> list[Any]:
    """`outcome` of a model that holds a module."""
    found = outcome(model, x, hx)
    return found[: -len(list(module.parameters()))] + [p.grad for p in module.parameters()]


def test_few_steps_are_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modules, "FEWEST", 4)
    theirs, ours = build("LSTM", num_layers=2, dtype=torch.float64)
    for t in (1, 3):
        assert torch.equal(ours(draw(0, t, 3, 4))[0], theirs(draw(0, t, 3, 4))[0])
    monkeypatch.setattr(modules.autograd, "run", None)
    for t in (1, 3):
        outcome(ours, draw(0, t, 3, 4), first_states(ours, 3))
    with pytest.raises(TypeError):
        ours(draw(0, 4, 3, 4))


@pytest.mark.parametrize("cell", CELLS)
def test_nothing_to_read(cell: str) -> None:
    theirs, ours = build(cell)
    x = torch.zeros(7, 0, 4)
    assert [tensor.shape for tensor in flat(ours(x))] == [tensor.shape for tensor in flat(theirs(x))]
    for module in (theirs, ours):
        with pytest.raises(RuntimeError, match="sequence length to be larger than 0"):
            module(torch.zeros(0, 3, 4))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda m: m(torch.zeros(7, 3, 2)),
            r"input has shape \(7, 3, 2\); it must be \(t, b, 4\), or \(t, 4\) of one seq",
        ),
        (
            lambda m: m(np.zeros((7, 3, 4))),
            r"input is array\(.*; it must be a torch.Tensor or a PackedSequence",
        ),
        (lambda m: m(torch.zeros(7, 4), (3, 4)), r"hx is \(3, 4\); it must be a tensor \(1, 5\)"),
        (lambda m: m(torch.zeros(4)), r"input has shape \(4,\); it must be \(t, b, 4\), or"),
        (lambda m: m(torch.zeros(7, 3, 4, 1)), r"input has shape \(7, 3, 4, 1\); it must be \(t, b, 4\), or"),
        (
            lambda m: m(torch.zeros(7, 3, 4), torch.zeros(1, 2, 5)),
            r"hx has shape \(1, 2, 5\); it must be a tensor \(1, 3, 5\)",
        ),
        (
            lambda m: m(torch.zeros(7, 4), torch.zeros(1, 1, 5)),
            r"hx has shape \(1, 1, 5\); it must be a tensor \(1, 5\)",
        ),
        (
            lambda m: m(torch.zeros(7, 3, 4).double()),
            r"input is torch.float64 on cpu, the first weight torch.float32 on cpu",
        ),
        (
            lambda m: m(torch.zeros(7, 3, 4), torch.zeros(1, 3, 5).half()),
            r"hx is torch.float16 on cpu, the first weight",
        ),
        (
            lambda m: m(torch.zeros(7, 3, 4, device="meta")),
            r"input is torch.float32 on meta, the first weight .* on cpu",
        ),
        (
            lambda m: m.half()(torch.zeros(7, 3, 4).half()),
            r"the weights have dtype torch.float16; make them torch.float32 or",
        ),
        (
            lambda m: m.bfloat16()(torch.zeros(7, 3, 4).bfloat16()),
            r"the weights have dtype torch.bfloat16; make them",
        ),
        (
            lambda m: m.to("meta")(torch.zeros(7, 3, 4, device="meta")),
            r'input is on device "meta"; move it to "cpu" or',
        ),
    ],
)
def test_errors(call: Any, message: str) -> None:
    _, ours = build("GRU")
    with pytest.raises(ValueError, match=message):
        call(ours)


def test_errors_of_lstm() -> None:
    _, ours = build("LSTM")
    x, h = torch.zeros(7, 3, 4), torch.zeros(1, 3, 5)
    with pytest.raises(ValueError, match=r"hx\[1\] has shape \(2, 3, 5\); it must be a tensor \(1, 3, 5\)"):
        ours(x, (h, torch.zeros(2, 3, 5)))
    with pytest.raises(ValueError, match=r"hx has 3 parts; it must be a tuple of h and c"):
        ours(x, (h, h, h))
    with pytest.raises(ValueError, match=r"proj_size is 2; fastrec has no projections, use torch.nn.LSTM"):
        fastrec.torch.LSTM(4, 5, proj_size=2)
    with pytest.raises(ValueError, match="input_size must be greater than zero"):
        fastrec.torch.GRU(0, 5)


class Tagger(torch.nn.Module):
    """A model of several recurrent modules, as users write them."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = torch.nn.GRU(4, 5, 2, batch_first=True, bidirectional=True)
        self.cells = torch.nn.ModuleList(
            [torch.nn.LSTM(10, 6, batch_first=True), torch.nn.RNN(6, 3, batch_first=True)]
        )
        self.out = torch.nn.Linear(3, 2)

    def forward(self, x: Any, hx: Any = None) -> Any:
        x, _ = self.encoder(x, hx)
        for cell in self.cells:
            x, _ = cell(x)
        return self.out(x)


class TestSpeedUp:
    def test_model(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("FASTREC_QUIET")
        model, x = Tagger(), draw(0, 3, 7, 4, dtype=torch.float32)
        other, optimizer = copy.deepcopy(model), torch.optim.SGD(model.parameters(), 0.1)
        before, names = list(model.parameters()), list(model.state_dict())
        assert fastrec.torch.survey(model) == dict.fromkeys(("encoder", "cells.0", "cells.1"))
        assert fastrec.torch.speed_up(model) is model
        assert capsys.readouterr().err.splitlines() == [
            "fastrec: encoder is now a fastrec.torch.GRU",
            "fastrec: cells.0 is now a fastrec.torch.LSTM",
            "fastrec: cells.1 is now a fastrec.torch.RNN",
        ]
        assert list(model.state_dict()) == names
        assert all(a is b for a, b in zip(model.parameters(), before, strict=True))
        assert_close(outcome(model, x, None), outcome(other, x, None))
        optimizer.step()
        assert not torch.equal(model(x), other(x))
        assert set(fastrec.torch.survey(model).values()) == {"it is one of fastrec's"}

    def test_module_itself(self) -> None:
        module = torch.nn.LSTM(4, 5)
        assert type(fastrec.torch.speed_up(module)) is fastrec.torch.LSTM

    def test_what_is_left(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("FASTREC_QUIET")

        class Own(torch.nn.GRU):
            pass

        changed = torch.nn.GRU(4, 5)
        changed.forward = lambda x: x
        model = torch.nn.ModuleDict(
            {
                "projected": torch.nn.LSTM(4, 5, proj_size=2),
                "short": torch.nn.RNN(4, 5, dtype=torch.bfloat16),
                "meta": torch.nn.RNN(4, 5, device="meta"),
                "own": Own(4, 5),
                "changed": changed,
                "normed": torch.nn.utils.parametrizations.weight_norm(torch.nn.GRU(4, 5), "weight_hh_l0"),
                "linear": torch.nn.Linear(4, 5),
            }
        )
        reasons = {
            "projected": "it has proj_size=2",
            "short": "its weights are torch.bfloat16",
            "meta": "its weights are on meta",
            "own": f"it is a {__name__}.TestSpeedUp.test_what_is_left.<locals>.Own",
            "changed": "it has a forward of its own",
            "normed": "its weights are parametrized; parametrize a module of fastrec.torch instead",
        }
        kinds = [type(module) for module in model.modules()]
        assert fastrec.torch.survey(model) == reasons
        fastrec.torch.speed_up(model)
        assert [type(module) for module in model.modules()] == kinds
        lines = capsys.readouterr().err.splitlines()
        assert lines == [f"fastrec: {name} is left as it is: {reason}" for name, reason in reasons.items()]
        fastrec.torch.speed_up(torch.nn.Linear(2, 2))
        assert capsys.readouterr().err == "fastrec: found no torch.nn.RNN, GRU or LSTM in the model\n"

    @pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:torch.quantize:UserWarning")
    def test_scripted_and_quantized(self) -> None:
        found = fastrec.torch.survey(
            torch.nn.ModuleDict(
                {
                    "script": torch.jit.script(torch.nn.GRU(4, 5)),
                    "int8": torch.ao.nn.quantized.dynamic.GRU(4, 5),
                }
            )
        )
        assert found["script"] == "it is a torch.jit._script.RecursiveScriptModule"
        assert found["int8"] == "it is a torch.ao.nn.quantized.dynamic.modules.rnn.GRU"

    def test_errors(self) -> None:
        for call in (fastrec.torch.speed_up, fastrec.torch.survey):
            with pytest.raises(ValueError, match=r"model is 3; it must be a torch.nn.Module"):
                call(3)


class TestTeam:
    """PyTorch's threads, which run the kernels."""

    @pytest.fixture
    def borrowed(self) -> Any:
        if (found := team.team()) is None:
            pytest.skip("this PyTorch has no GNU OpenMP")
        return found

    def test_same_numbers(self, borrowed: Any, threads: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """To the bit: by PyTorch's threads and by those of the package."""
        x, made = torch.randn(5, 9, 4), []
        used: list[int] = []
        counted = lambda function, n: (used.append(n), borrowed(function, n))  # noqa: E731
        for given in (counted, None):
            monkeypatch.setattr(arrays, "team", lambda given=given: given)
            torch.manual_seed(0)
            module = fastrec.torch.LSTM(4, 6, bidirectional=True)
            threads(3)
            output, _ = module(x)
            output.square().sum().backward()
            made.append([output, *(p.grad for p in module.parameters())])
        assert len(used) > 1 and set(used) <= {2, 3}
        assert all(map(torch.equal, *made))

    def test_errors_come_out(self, borrowed: Any, threads: Any) -> None:
        """From whichever thread; the others stop."""

        def take() -> bool:
            raise KeyboardInterrupt if threading.get_ident() == here else MemoryError

        here, stopped = threading.get_ident(), []
        with borrow_team(borrowed), pytest.raises((KeyboardInterrupt, MemoryError)):
            Job(take, lambda: stopped.append(1)).run(2)
        assert stopped

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
    def test_fork(self, borrowed: Any) -> None:
        """A child has none of PyTorch's threads, and takes those of the package."""
        script = (
            "import os, torch, fastrec; from fastrec.kernels.cpu import threads; threads.SMALL = 1\n"
            "fastrec.set_threads(2); torch.manual_seed(0)\n"
            "gru, x = fastrec.torch.GRU(4, 6), torch.randn(9, 5, 4); wanted = gru(x)[0]; pid = os.fork()\n"
            "if not pid: os._exit(not torch.equal(gru(x)[0], wanted))\n"
            "raise SystemExit(os.waitpid(pid, 0)[1])"
        )
        subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True, timeout=300)
