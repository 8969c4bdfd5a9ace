"""Measure EncoderDecoder.beam_search beside a search of all sources at once in PyTorch, of equal weights.

python benchmarks/beam_search.py [--rounds N]

PyTorch is to be installed by hand; it has as many threads as fastrec.  Ends are made so improbable that both
take all steps.  fastrec also encodes the sources; PyTorch is given what that makes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import fastrec
from fastrec.bench.peak_rates import limits
from fastrec.bench.timing import format_seconds, format_share, in_turn, machine

SOURCES, WORDS, WIDTH, H, V, STEPS, PENALTY = 64, 15, 5, 256, 4600, 20, 1.0
Advance = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


def search(advance: Advance, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The best sequence (n, steps), with V behind its end, and its score (n,), from states (n, h)."""
    n, never = len(state), torch.tensor(float("-inf"))
    penalties = ((5 + torch.arange(1, STEPS + 1)) / 6) ** PENALTY
    sums = torch.full((n, WIDTH), never)
    sums[:, 0] = 0
    written, best = torch.full((n, WIDTH, STEPS), V), torch.full((n, STEPS), V)
    scores, reading, rows = torch.full((n,), never), torch.full((n * WIDTH,), V), torch.arange(n)[:, None]
    state = state.repeat_interleave(WIDTH, 0)
    for t in range(STEPS):
        y, state = advance(reading, state)
        candidates = (sums[:, :, None] + y.log_softmax(1).view(n, WIDTH, -1)).view(n, -1)
        values, places = candidates.topk(2 * WIDTH, 1)
        beams, symbols = places // (V + 1), places % (V + 1)
        ended = symbols == V
        ended_scores, first = (
            torch.where(ended & ((~ended).cumsum(1) < WIDTH), values / penalties[t], never)
        ).max(1)
        better = ended_scores > scores
        scores = torch.where(better, ended_scores, scores)
        best[better] = written[rows[:, 0], beams[rows[:, 0], first]][better]
        going = ended.to(torch.int8).argsort(dim=1, stable=True)[:, :WIDTH]
        sums, beams, symbols = (values.gather(1, going), beams.gather(1, going), symbols.gather(1, going))
        written = written[rows, beams]
        written[:, :, t], reading, state = symbols, symbols.view(-1), state[(rows * WIDTH + beams).view(-1)]
        if bool((sums[:, 0] / penalties[-1] <= scores).all()):
            break
    cut = sums[:, 0] / penalties[-1]
    return torch.where((cut > scores)[:, None], written[:, 0], best), torch.maximum(cut, scores)


def make(attention: Any) -> tuple[Callable[[], Any], Callable[[], Any], int]:
    """The search of a model by each, and the multiply-adds of its decoder."""
    model = fastrec.EncoderDecoder(V, V, H, attention=attention, seed=1)
    for key, array in model.parameters.items():
        array *= 40 if key.endswith("W_out") else 1
    model.decoder.parameters["b_out"][V] = -1000
    sources = np.random.default_rng(0).integers(0, V, (SOURCES, WORDS))
    assert model.encoder is not None
    keys, end = (torch.from_numpy(np.array(each)) for each in model.encoder.predict(sources))
    layers, linear = model.decoder.to_torch()
    cell = torch.nn.GRUCell(V + 1, H)
    for key, array in layers.named_parameters():
        getattr(cell, key.removesuffix("_l0")).data = array.data
    inward = cell.weight_ih.T.contiguous()
    weights = {key: torch.from_numpy(array) for key, array in model.parameters.items() if "attention" in key}
    if attention == "general":
        scored, keys = keys @ weights["attention.W_key"], keys

    def advance(symbols: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        z, p = inward[symbols] + cell.bias_ih, state @ cell.weight_hh.T + cell.bias_hh
        (z_r, z_u, z_n), (p_r, p_u, p_n) = z.chunk(3, 1), p.chunk(3, 1)
        update, new = (z_u + p_u).sigmoid(), (z_n + (z_r + p_r).sigmoid() * p_n).tanh()
        state = top = new + update * (state - new)
        if attention:
            queries = top.view(SOURCES, WIDTH, H)
            contexts = (queries @ scored.mT).softmax(2) @ keys
            top = (torch.cat([contexts, queries], 2).view(-1, 2 * H) @ weights["attention.W_combine"]).tanh()
        return linear(top), state

    def theirs() -> Any:
        with torch.no_grad():
            return search(advance, end[0])

    def ours() -> Any:
        return model.beam_search(sources, STEPS, width=WIDTH, length_penalty=PENALTY)

    (symbols, _, scores), (written, expected) = ours(), theirs()
    np.testing.assert_allclose(scores[:, 0], expected.numpy(), rtol=1e-4)
    assert (symbols[:, 0] == written.numpy()).all(1).mean() > 0.95  # others are ties of float32
    row = 3 * H * H + H * (V + 1) + (2 * H * H + 2 * WORDS * H if attention else 0)
    return ours, theirs, SOURCES * row * (1 + WIDTH * (STEPS - 1))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(fastrec.get_threads())
    peak = limits()["multiply-adds"]
    print(f"{machine()}, torch {torch.__version__}; medians of {options.rounds} rounds\n")
    print("| beam search | fastrec | PyTorch | times faster | of the peak of multiply-adds |")
    print("|---|---|---|---|---|")
    for attention in (None, "general"):
        ours, theirs, operations = make(attention)
        found = in_turn(ours, theirs, rounds=options.rounds)
        times = f"{format_seconds(found.ours)} | {format_seconds(found.baseline)} | {found.ratio:.2f}"
        print(f"| attention {attention} | {times} | {format_share(operations / found.ours / peak)} |")


if __name__ == "__main__":
    main()
