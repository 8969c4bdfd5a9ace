"""Weights from PyTorch and to it, and the same numbers there and here: outputs, losses, every gradient."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from devices import to_host

from fastrec import RNN

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence  # noqa: E402

pytestmark = pytest.mark.each_value  # on each backend kernels have tests of their own

CELLS = ("tanh", "relu", "gru", "lstm")
LENGTHS = [6, 1, 4]


def build(cell: str, layers: int = 1, dtype: Any = torch.float64, **options: object) -> Any:
    """A module of 4 inputs and 5 hidden units, and a linear layer of 3 outputs."""
    torch.manual_seed(0)
    kind = {"gru": nn.GRU, "lstm": nn.LSTM}.get(cell, nn.RNN)
    if kind is nn.RNN:
        options["nonlinearity"] = cell
    options = {"batch_first": True, "dtype": dtype} | options
    return kind(4, 5, layers, **options), nn.Linear(5, 3, dtype=dtype)


def run(module: Any, x: Any, state: Any, lengths: list[int] | None) -> tuple[Any, Any]:
    """Hidden units (b, t, h) and last state (layers, b, s), as fastrec has them."""
    h = module.hidden_size
    split = (state[..., :h].contiguous(), state[..., h:].contiguous()) if state.shape[-1] > h else state
    if lengths is None:
        hidden, last = module(x, split)
    else:
        packed = pack_padded_sequence(x, torch.tensor(lengths), batch_first=True, enforce_sorted=False)
        hidden, last = module(packed, split)
        hidden, _ = pad_packed_sequence(hidden, batch_first=True, total_length=x.shape[1])
    return hidden, torch.cat(last, dim=-1) if isinstance(last, tuple) else last


def close(value: Any, expected: Any, dtype: Any) -> None:
    expected = expected.detach().numpy()
    assert value.dtype == expected.dtype
    tolerance = {"rtol": 2e-5, "atol": 2e-6} if dtype == torch.float32 else {"rtol": 1e-9, "atol": 1e-11}
    np.testing.assert_allclose(value, expected, **tolerance)


def random(seed: int, dtype: Any, *shape: int) -> Any:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape)).to(dtype)


def check_gradients(grads: dict[str, np.ndarray], module: Any, output: Any, dtype: Any) -> None:
    """Those of the parameters against what autograd left in the modules."""
    for layer in range(module.num_layers):
        end = f"_l{layer}" if layer else ""
        at = {
            name: getattr(module, f"{name}_l{layer}").grad for name in ("weight_ih", "weight_hh", "bias_ih")
        }
        close(grads["W_in" + end], at["weight_ih"].T, dtype)
        close(grads["W_rec" + end], at["weight_hh"].T, dtype)
        close(grads["b" + end], at["bias_ih"], dtype)
        if isinstance(module, nn.GRU):
            close(grads["b_n" + end], getattr(module, f"bias_hh_l{layer}").grad[10:], dtype)
    if output is not None:
        close(grads["W_out"], output.weight.grad.T, dtype)
        close(grads["b_out"], output.bias.grad, dtype)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
class TestNumbers:
    @pytest.mark.parametrize("lengths", [None, LENGTHS])
    def test_backward(
        self, backend: str, cell: str, layers: int, dtype: Any, lengths: list[int] | None
    ) -> None:
        module, output = build(cell, layers, dtype)
        rnn = RNN.from_torch(module, output, backend=backend)
        x, state = random(0, dtype, 3, 6, 4), random(1, dtype, layers, 3, 10 if cell == "lstm" else 5)
        trace = rnn.forward(x.numpy(), state.numpy(), lengths)
        hidden, last = run(module, x.requires_grad_(), state.requires_grad_(), lengths)
        on = torch.arange(6) < torch.tensor(lengths or [6] * 3)[:, None]
        outputs = torch.where(on[..., None], output(hidden), 0)
        for value, expected in ((trace.outputs, outputs), (trace.hidden, hidden), (trace.state, last)):
            close(value, expected, dtype)
        given = [random(2, dtype, 3, 6, 3), random(3, dtype, 3, 6, 5), random(4, dtype, *last.shape)]
        sum((d * y).sum() for d, y in zip(given, (outputs, hidden, last), strict=True)).backward()
        grads = rnn.backward(trace, *(d.numpy() for d in given))
        check_gradients(grads, module, output, dtype)
        close(grads["x"], x.grad, dtype)
        close(grads["state"], state.grad, dtype)

    @pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
    @pytest.mark.parametrize("reduction", ["mean", "sum"])
    def test_losses(
        self, backend: str, cell: str, layers: int, dtype: Any, loss: str, reduction: str
    ) -> None:
        module, output = build(cell, layers, dtype)
        rnn = RNN.from_torch(module, output, backend=backend)
        x, mask = random(0, dtype, 3, 6, 4), random(1, dtype, 3, 6) > -0.5
        targets = torch.arange(18).reshape(3, 6) % 3 if loss == "cross_entropy" else random(2, dtype, 3, 6, 3)
        options = {"loss": loss, "reduction": reduction, "lengths": LENGTHS, "mask": mask.numpy()}
        value, grads, last = rnn.loss_and_gradients(x.numpy(), targets.numpy(), **options)
        hidden, state = run(
            module, x, torch.zeros(layers, 3, 10 if cell == "lstm" else 5, dtype=dtype), LENGTHS
        )
        on = mask & (torch.arange(6) < torch.tensor(LENGTHS)[:, None])
        y = output(hidden)[on]
        if loss == "cross_entropy":
            expected = nn.functional.cross_entropy(y, targets[on], reduction=reduction)
        else:
            expected = nn.functional.mse_loss(y, targets[on], reduction="sum") / 2
            expected = expected / on.sum() if reduction == "mean" else expected
        expected.backward()
        assert value == pytest.approx(expected.item(), rel=1e-5 if dtype == torch.float32 else 1e-10)
        close(last, state, dtype)
        check_gradients(grads, module, output, dtype)

    def test_hidden_units_are_outputs(self, backend: str, cell: str, layers: int, dtype: Any) -> None:
        module, _ = build(cell, layers, dtype)
        rnn = RNN.from_torch(module, backend=backend)
        x, targets = random(0, dtype, 3, 6, 4), torch.arange(18).reshape(3, 6) % 5
        value, grads, _ = rnn.loss_and_gradients(x.numpy(), targets.numpy())
        expected = nn.functional.cross_entropy(module(x)[0].reshape(18, 5), targets.reshape(18))
        expected.backward()
        assert value == pytest.approx(expected.item(), rel=1e-5 if dtype == torch.float32 else 1e-10)
        check_gradients(grads, module, None, dtype)

    def test_round_trip(self, backend: str, cell: str, layers: int, dtype: Any) -> None:
        name, activation = ("elman", cell) if cell in ("tanh", "relu") else (cell, "tanh")
        own = np.float32 if dtype == torch.float32 else np.float64
        for o in (None, 3):
            rnn = RNN(
                4, 5, o, name, activation, layers, dtype=own, initial="uniform", backend=backend, seed=0
            )
            before = torch.random.get_rng_state()
            made = rnn.to_torch()
            assert torch.equal(torch.random.get_rng_state(), before)
            module, output = (made, None) if o is None else made
            assert all(
                p.requires_grad and p.is_contiguous() and p.device.type == "cpu" for p in module.parameters()
            )
            again = RNN.from_torch(module, output, backend=backend)
            assert repr(again) == repr(rnn)
            found = to_host(again.parameters)
            for key, value in to_host(rnn.parameters).items():
                assert np.array_equal(found[key], value)
                assert not np.shares_memory(found[key], value)
            x = random(0, dtype, 3, 6, 4)
            hidden, _ = module(x)
            close(rnn.forward(x.numpy()).hidden, hidden, dtype)
            if output is not None:
                close(rnn.forward(x.numpy()).outputs, output(hidden), dtype)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_bidirectional(backend: str, cell: str, lengths: list[int] | None) -> None:
    """Outputs, both states and every gradient; and the same module comes back."""
    module, _ = build(cell, 2, bidirectional=True, dropout=0.5)
    module.eval()
    output = nn.Linear(10, 3, dtype=torch.float64)
    rnn = RNN.from_torch(nn.ModuleList([nn.ReLU(), module, output]), backend=backend)
    width = 10 if cell == "lstm" else 5
    x, state = random(0, torch.float64, 3, 6, 4), random(1, torch.float64, 4, 3, width)
    trace = rnn.forward(x.numpy(), state.numpy(), lengths)
    hidden, last = run(module, x.requires_grad_(), state.requires_grad_(), lengths)
    on = torch.arange(6) < torch.tensor(lengths or [6] * 3)[:, None]
    outputs = torch.where(on[..., None], output(hidden), 0)
    for value, expected in ((trace.outputs, outputs), (trace.hidden, hidden), (trace.state, last)):
        close(value, expected, torch.float64)
    given = [random(2 + i, torch.float64, *y.shape) for i, y in enumerate((outputs, hidden, last))]
    sum((d * y).sum() for d, y in zip(given, (outputs, hidden, last), strict=True)).backward()
    grads = rnn.backward(trace, *(d.numpy() for d in given))
    close(grads["x"], x.grad, torch.float64)
    close(grads["state"], state.grad, torch.float64)
    close(grads["W_out"], output.weight.grad.T, torch.float64)
    for layer in range(2):
        end = f"_l{layer}" if layer else ""
        for way, back in enumerate(("", "_reverse")):
            at = {
                kind: getattr(module, f"{kind}_l{layer}{back}").grad
                for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            }
            close(grads["W_in" + end][way], at["weight_ih"].T, torch.float64)
            close(grads["W_rec" + end][way], at["weight_hh"].T, torch.float64)
            close(grads["b" + end][way], at["bias_ih"], torch.float64)
            if cell == "gru":
                close(grads["b_n" + end][way], at["bias_hh"][10:], torch.float64)
    again, outer = rnn.to_torch()
    close(outer(again(x)[0]).detach().numpy(), output(module(x)[0]), torch.float64)


def test_parts_of_a_model(backend: str) -> None:
    """The embedding, the recurrent layers and the output layer are found inside a module."""

    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.rnn, self.out = nn.Embedding(7, 4), nn.GRU(4, 5, 2), nn.Linear(5, 3)

        def forward(self, tokens: Any) -> Any:
            return self.out(self.rnn(self.embed(tokens).swapaxes(0, 1))[0]).swapaxes(0, 1)

    torch.manual_seed(0)
    model, tokens = Tagger(), torch.arange(12).reshape(2, 6) % 7
    rnn = RNN.from_torch(model, backend=backend)
    close(rnn.forward(tokens.numpy()).outputs, model(tokens), torch.float32)
    with pytest.raises(ValueError, match=r"module has several torch.nn.Linear, 0, 2; give the recurrent"):
        RNN.from_torch(nn.Sequential(nn.Linear(3, 4), nn.GRU(4, 5), nn.Linear(5, 3)))
    with pytest.raises(
        ValueError, match=r"module holds Linear\(.*in_features=5; give the recurrent layers alone"
    ):
        RNN.from_torch(nn.Sequential(nn.Linear(3, 4), nn.GRU(4, 5)))
    with pytest.raises(
        ValueError, match=r"module holds Embedding\(7, 3\), and the recurrent layers have input_size=4"
    ):
        RNN.from_torch(nn.Sequential(nn.Embedding(7, 3), nn.GRU(4, 5)))
    with pytest.raises(ValueError, match="fastrec has no max_norm; scale its weights and set it to None"):
        RNN.from_torch(nn.Sequential(nn.Embedding(7, 4, max_norm=1.0), nn.GRU(4, 5)))


@pytest.mark.parametrize("cell", CELLS)
def test_no_bias(backend: str, cell: str) -> None:
    module, _ = build(cell, 2, bias=False, batch_first=False)
    output = nn.Linear(5, 3, bias=False, dtype=torch.float64)
    rnn = RNN.from_torch(module, output, backend=backend)
    x = random(0, torch.float64, 6, 3, 4)
    close(rnn.forward(x.numpy().swapaxes(0, 1)).outputs.swapaxes(0, 1), output(module(x)[0]), torch.float64)


def test_modules_are_copied() -> None:
    module, output = build("gru")
    rnn = RNN.from_torch(module, output)
    before = rnn.copy()
    with torch.no_grad():
        for parameter in [*module.parameters(), *output.parameters()]:
            parameter.zero_()
    for key, value in rnn.parameters.items():
        assert np.array_equal(value, before.parameters[key])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"proj_size": 2}, "module has proj_size=2, which fastrec does not have"),
        ({"device": "meta"}, r"module.weight_ih_l0 is on the device meta and has no values; give a module"),
        ({"dtype": torch.float16}, r"module.weight_ih_l0 has dtype torch.float16; make it torch.float32 or"),
    ],
)
def test_refused_modules(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RNN.from_torch(build("lstm", 2, **options)[0])


def test_from_torch_errors() -> None:
    module, output = build("lstm")
    with pytest.raises(
        ValueError, match=r"module is of type Linear; it must be a torch.nn.RNN, torch.nn.GRU or"
    ):
        RNN.from_torch(output)
    with pytest.raises(
        ValueError, match=r"output is Linear\(.*; it must be a torch.nn.Linear with in_features=5"
    ):
        RNN.from_torch(module, nn.Linear(4, 3))
    with pytest.raises(ValueError, match=r"output is 3; it must be a torch.nn.Linear"):
        RNN.from_torch(module, 3)
    with pytest.raises(ValueError, match="the weights have dtypes float32, float64; make them one"):
        RNN.from_torch(module, nn.Linear(5, 3))


def test_to_torch_errors() -> None:
    with pytest.raises(
        ValueError, match=r"PyTorch has no 2 networks in one; copy\(model=j\) makes one of them"
    ):
        RNN(4, 5, models=2, seed=0).to_torch()
    with pytest.raises(ValueError, match='PyTorch has no network with cell="jordan"'):
        RNN(4, 5, 3, "jordan", seed=0).to_torch()
    for activation in ("logistic", "softplus"):
        with pytest.raises(ValueError, match=f'PyTorch has no network with activation="{activation}"'):
            RNN(4, 5, activation=activation, seed=0).to_torch()


def test_torch_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    module, _ = build("gru")
    monkeypatch.setitem(sys.modules, "torch", None)
    for call in (lambda: RNN.from_torch(module), RNN(4, 5, seed=0).to_torch):
        with pytest.raises(ImportError, match=r'PyTorch is not installed: pip install "torch>=2.7"'):
            call()


def test_refuses_parametrized_weights() -> None:
    module = torch.nn.utils.parametrizations.weight_norm(torch.nn.GRU(2, 3), "weight_hh_l0")
    with pytest.raises(ValueError, match=r"plain weights of a .*GRU.*weight_hh_l0"):
        RNN.from_torch(module)
    output = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(3, 2))
    with pytest.raises(
        ValueError, match=r"output does not hold the plain weights of a .*Linear; check .*weight"
    ):
        RNN.from_torch(torch.nn.GRU(2, 3), output)
