"""Small jobs that call every kernel, so that it is compiled before it is needed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, cast, get_args

import numpy as np

from .backend import Backend, kernels
from .hopfield.arguments import RuleName
from .hopfield.dense import DenseMemory
from .hopfield.interaction import EXPONENTIAL
from .hopfield.network import HopfieldNetwork, Representation
from .hopfield.recall import Update
from .hopfield.rules import RULES
from .hopfield.sequence import SequenceMemory
from .hopfield.states import corrupt, random_patterns
from .hopfield.storage_capacity.run import capacity
from .reservoir.config import Topology
from .reservoir.network import EchoState
from .rnn.cells import CELLS
from .rnn.device import compute_device
from .rnn.fitting import fit
from .rnn.labelling import ctc_decode
from .rnn.network import RNN
from .rnn.optimizers import SGD, Adam, RMSprop
from .text.encoder_decoder import EncoderDecoder
from .text.sizes import Attention


def warm_hopfield(backend: Backend) -> None:
    """Store, recall, fields and energies, from patterns and from couplings of all widths, by every rule."""
    kinds: tuple[tuple[int, Representation], ...] = ((3, "patterns"), (3, "weights"), (200, "weights"))
    for p, representation in kinds:
        net = HopfieldNetwork(70, representation=representation, backend=backend)
        net.store(random_patterns(p, 70, seed=1, backend=backend))
        probes = corrupt(random_patterns(3, 70, seed=1, backend=backend), 0.1, seed=1)
        for update in ("async", "sync"):
            net.recall(probes, update=update, max_sweeps=2, record_energy=True, seed=0)
            net.recall(probes, update=update, max_sweeps=2, temperature=1, average=1, seed=0)
        net.overlaps(probes)
        net.energy(probes)
        net.is_stable(probes)
        net.local_fields(probes)
        net.couplings()
    for rule in RULES:
        share = 0.5 if rule == "covariance" else None
        learnt = HopfieldNetwork(70, rule=cast(RuleName, rule), activity=share, backend=backend)
        learnt.store(random_patterns(3, 70, seed=1, activity=0.5, backend=backend))
        warm_couplings(learnt)
    sequence = SequenceMemory(70, backend=backend)
    sequence.store(random_patterns(3, 70, seed=1, backend=backend))
    sequence.recall(sequence.patterns)
    for degree in (3, EXPONENTIAL):
        dense = DenseMemory(70, degree, backend=backend)
        dense.store(random_patterns(3, 70, seed=1, backend=backend))
        for update in get_args(Update):
            dense.recall(dense.patterns, update=update, max_sweeps=2, seed=0)
    for size in (1, 2**40):  # fields of 32 and of 64 bits
        w = size * np.arange(16).reshape(4, 4)
        warm_couplings(HopfieldNetwork.from_couplings(w, backend=backend))


def warm_couplings(net: HopfieldNetwork) -> None:
    """Recall and fields of a network by its couplings."""
    for update in get_args(Update):
        net.recall(np.ones(net.n), update=update, max_sweeps=2, record="energy", seed=0)
        net.recall(np.ones(net.n), update=update, max_sweeps=2, temperature=1, average=1, seed=0)
    net.local_fields(np.ones(net.n))


def warm_capacity(backend: Backend) -> None:
    """The scan of many networks, and of one on all threads, where memories are certified and where not."""
    capacity(20, 1, max_patterns=2, backend=backend)
    if backend == "cpu":
        for corrupted in (1, 10):
            for _ in kernels("capacity", backend).NetworkScan(
                np.uint64(0), 20, 0, False, False, corrupted, False, 100, 3
            ):
                pass


def warm_cell(cell: Any, backend: Backend) -> None:
    """Forward, backward and training of numbers and of tokens, in float32."""
    layers, dropout = (1, 0.0) if CELLS[cell].feeds_back_output else (2, 0.5)
    x, tokens = np.zeros((2, 3, 2), np.float32), np.zeros((2, 3), np.int64)
    for optimizer in (Adam(clip=1.0), SGD(0.01, momentum=0.9), RMSprop(clip_value=1.0)):
        net = RNN(2, 4, 3, cell, num_layers=layers, backend=backend)
        fit(net, x, tokens, None, "cross_entropy", optimizer, epochs=1, dropout=dropout, progress=False)
        net.predict(x)
    net = RNN(3, 4, 2, cell, num_layers=layers, backend=backend)
    for loss in ("mse", "bce"):
        fit(net, tokens, x, None, loss, epochs=1, progress=False)
    fit(net, tokens, tokens[:, :1] + 1, None, "ctc", epochs=1, progress=False)
    device = compute_device(backend)
    W = device.xp.zeros((1, 2, 2), np.float32)
    device.kernels.transpose_matrices(W, W.copy())


def warm_normalised(backend: Backend) -> None:
    """Training with layer normalisation, in float32."""
    for cell in (name for name in CELLS if CELLS[name].normalisable):
        kind: Any = cell
        net = RNN(2, 4, 3, kind, backend=backend, layer_norm=True)
        fit(net, np.zeros((2, 3, 2), np.float32), np.zeros((2, 3), np.int64), epochs=1, progress=False)


def warm_attention(backend: Backend) -> None:
    """Training with attention of both kinds of scores, in float32, and dropout."""
    kinds: tuple[Attention, ...] = ("general", "additive")
    for kind in kinds:
        model = EncoderDecoder(2, 2, 4, attention=kind, backend=backend)
        model.fit([[0]], [[1]], epochs=1, dropout=0.1, progress=False)


def warm_labelling(backend: Backend) -> None:
    """Labels that are searched for."""
    ctc_decode(np.zeros((1, 2, 3), np.float32), width=2, backend=backend)


def warm_text(backend: Backend) -> None:
    """Tokens drawn from a network."""
    for cell in CELLS:
        kind: Any = cell
        RNN(3, 4, 3, kind, backend=backend).generate(np.zeros((1, 1), np.int64), 2, 0.8, 2, 0.9)


def warm_decoding(backend: Backend) -> None:
    """Beam search, and sequences drawn with attention."""
    for cell in CELLS:
        kind: Any = cell
        attention: Attention | None = None if CELLS[cell].feeds_back_output else "general"
        model = EncoderDecoder(2, 2, 4, kind, attention=attention, backend=backend)
        model.generate([[0]], 2)
        model.beam_search([[0]], 2)


def warm_steps(backend: Backend) -> None:
    """Single steps of a network, and outputs that it reads."""
    for cell in CELLS:
        kind: Any = cell
        RNN(3, 4, 3, kind, backend=backend).extend(np.zeros((1, 1, 3), np.float32), 2)


def warm_reservoir(backend: Backend) -> None:
    """Fits and forecasts of reservoirs whose units read a few others, and all others."""
    for topology in get_args(Topology)[:2]:
        x = np.zeros((3, 1))
        EchoState(1, 4, topology=topology, backend=backend).fit(x, x, ridge=1.0, washout=0).extend(x, 2)


PARTS: dict[str, Callable[[Backend], None]] = {
    "hopfield": warm_hopfield,
    "capacity": warm_capacity,
    **{cell: functools.partial(warm_cell, cell) for cell in CELLS},
    "normalised": warm_normalised,
    "attention": warm_attention,
    "labelling": warm_labelling,
    "decoding": warm_decoding,
    "text": warm_text,
    "steps": warm_steps,
    "reservoir": warm_reservoir,
}
