"""Models with attention beside PyTorch's recurrent modules, and attention written in plain PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastrec import EncoderDecoder

torch = pytest.importorskip("torch")
from torch.nn import functional  # noqa: E402

pytestmark = pytest.mark.each_value

LENGTHS, ENDS = [6, 1, 4, 3], [3, 4, 0, 1]


def run(rnn: Any, parameters: dict[str, Any], tokens: list[int], state: Any) -> tuple[Any, Any]:
    """A torch.nn.GRU or LSTM over one sequence, with fastrec's weights; layers are modules."""
    hidden, states = parameters["E"][tokens][None] if "E" in parameters else None, []
    lstm, directions = rnn.cell == "lstm", 2 if rnn._config.directions == 2 else 1
    h = rnn.hidden_size
    for layer in range(rnn._config.num_layers):
        end = f"_l{layer}" if layer else ""
        W_in, W_rec, b = (parameters[f"{name}{end}"] for name in ("W_in", "W_rec", "b"))
        each = [(W_in, W_rec, b, parameters.get(f"b_n{end}"))]
        if directions == 2:
            b_n = parameters.get(f"b_n{end}", [None] * 2)
            each = [(W_in[d], W_rec[d], b[d], b_n[d]) for d in range(2)]
        if hidden is None:
            hidden = functional.one_hot(torch.tensor(tokens), W_in.shape[-2])[None].to(W_in.dtype)
        module = (torch.nn.LSTM if lstm else torch.nn.GRU)(
            hidden.shape[2], h, batch_first=True, bidirectional=directions == 2, dtype=W_in.dtype
        )
        weights = {}
        for d, (w, r, bias, b_n) in enumerate(each):
            back = "_reverse" if d else ""
            weights[f"weight_ih_l0{back}"], weights[f"weight_hh_l0{back}"] = w.T, r.T
            weights[f"bias_ih_l0{back}"] = bias
            recurrent = torch.zeros_like(bias)
            weights[f"bias_hh_l0{back}"] = recurrent if lstm else torch.cat([recurrent[: 2 * h], b_n])
        if state is None:
            parts = [parameters[f"{name}{end}"] for name in ("h0", "c0")[: 1 + lstm]]
            start = tuple(part.reshape(directions, 1, h) for part in parts)
        else:
            start = tuple(part.reshape(1, 1, h) for part in state[layer].split(h))
        hidden, last = torch.func.functional_call(module, weights, (hidden, start if lstm else start[0]))
        states.append(torch.cat([part.reshape(-1) for part in (last if lstm else (last,))]))
    return hidden[0], states


def torch_loss(model: EncoderDecoder, p: dict[str, Any], sources: Any, targets: Any) -> Any:
    """The summed cross entropy, pair by pair."""
    parts = {name: {} for name in ("encoder", "decoder", "attention")}
    for key, value in p.items():
        part, _, name = key.partition(".")
        parts[part][name] = value
    kind, own, total = model._sizes.attention, parts["attention"], 0
    for source, target, length, end in zip(sources, targets, LENGTHS, ENDS, strict=True):
        s, states = run(model.encoder, parts["encoder"], source[:length].tolist(), None)
        written = [model.target_size, *target[:end].tolist()]
        h, _ = run(model.decoder, parts["decoder"], written, states)
        keys = s if kind == "dot" else s @ own["W_key"]
        scores = h @ keys.T
        if kind == "additive":
            scores = torch.tanh((h @ own["W_query"])[:, None] + keys) @ own["v"]
        contexts = functional.softmax(scores, dim=1) @ s
        read = torch.tanh(torch.cat([contexts, h], dim=1) @ own["W_combine"])
        y = read @ parts["decoder"]["W_out"] + parts["decoder"]["b_out"]
        wanted = torch.tensor([*target[:end].tolist(), model.target_size])
        total = total + functional.cross_entropy(y, wanted, reduction="sum")
    return total / (sum(ENDS) + len(ENDS))


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "embedding_size": 5}], ids=str)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("kind", ["dot", "general", "additive"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_loss_and_gradients(
    dtype: type, kind: str, cell: str, bidirectional: bool, options: dict[str, int]
) -> None:
    random = np.random.default_rng(0)
    given = {"attention": kind, "bidirectional": bidirectional, "dtype": dtype, "seed": 2}
    model = EncoderDecoder(7, 5, 16, cell, backend="cpu", **given, **options)
    sources, targets = random.integers(0, 7, (4, 6)), random.integers(0, 5, (4, 4))
    for array in model.parameters.values():
        array += (0.1 * random.standard_normal(array.shape)).astype(dtype)
    p = {key: torch.from_numpy(array.copy()).requires_grad_() for key, array in model.parameters.items()}
    loss = torch_loss(model, p, sources, targets)
    loss.backward()
    value, gradients, _ = model.loss_and_gradients(sources, targets, LENGTHS, ENDS)
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    assert abs(value - loss.item()) <= tolerance * abs(value)
    for key, gradient in gradients.items():
        wanted = p[key].grad.numpy() if p[key].grad is not None else np.zeros(p[key].shape)
        assert np.abs(gradient - wanted).max() <= tolerance * max(1, np.abs(wanted).max()), key
