"""Hopfield networks and recurrent neural networks, fast and exact, on CPU and GPU."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .backend import BackendError, available_backends, get_backend, set_backend, use_backend
    from .hopfield import theory
    from .hopfield.capacity import capacity, capacity_scaling
    from .hopfield.network import HopfieldNetwork, OscillationResult, RecallResult, find_oscillation
    from .hopfield.patterns import PackedStates, corrupt, pack, random_patterns
    from .hopfield.results import CapacityResult, ScalingResult
    from .hopfield.retrieval import RetrievalResult, basin_map, retrieval_curve, retrieval_scaling
    from .kernels.cpu.threads import get_threads, set_threads
    from .rnn.addition import AdditionResult, addition, addition_task
    from .rnn.diagnostics import GradientFlow, gradient_flow, spectral_radius
    from .rnn.encoder_decoder import EncoderDecoder
    from .rnn.history import History, TextHistory
    from .rnn.labels import classify, label_targets
    from .rnn.layers import RNN, Trace
    from .rnn.ngrams import NGramModel, ngram_table
    from .rnn.optim import SGD, Adam
    from .rnn.padding import pad_sequences, unpad
    from .rnn.text import CharModel, example_text
    from .rnn.training import fit, truncated_bptt
    from .rnn.vocabulary import Vocabulary

__version__ = "0.1.0"

__all__ = [
    "RNN",
    "SGD",
    "Adam",
    "AdditionResult",
    "BackendError",
    "CapacityResult",
    "CharModel",
    "EncoderDecoder",
    "GradientFlow",
    "History",
    "HopfieldNetwork",
    "NGramModel",
    "OscillationResult",
    "PackedStates",
    "RecallResult",
    "RetrievalResult",
    "ScalingResult",
    "TextHistory",
    "Trace",
    "Vocabulary",
    "__version__",
    "addition",
    "addition_task",
    "available_backends",
    "basin_map",
    "capacity",
    "capacity_scaling",
    "classify",
    "corrupt",
    "example_text",
    "find_oscillation",
    "fit",
    "get_backend",
    "get_threads",
    "gradient_flow",
    "label_targets",
    "ngram_table",
    "pack",
    "pad_sequences",
    "random_patterns",
    "retrieval_curve",
    "retrieval_scaling",
    "set_backend",
    "set_threads",
    "spectral_radius",
    "theory",
    "truncated_bptt",
    "unpad",
    "use_backend",
]

_NAMES = {
    "backend": ("BackendError", "available_backends", "get_backend", "set_backend", "use_backend"),
    "hopfield.capacity": ("capacity", "capacity_scaling"),
    "hopfield.network": ("HopfieldNetwork", "OscillationResult", "RecallResult", "find_oscillation"),
    "hopfield.patterns": ("PackedStates", "corrupt", "pack", "random_patterns"),
    "hopfield.results": ("CapacityResult", "ScalingResult"),
    "hopfield.retrieval": ("RetrievalResult", "basin_map", "retrieval_curve", "retrieval_scaling"),
    "kernels.cpu.threads": ("get_threads", "set_threads"),
    "rnn.addition": ("AdditionResult", "addition", "addition_task"),
    "rnn.diagnostics": ("GradientFlow", "gradient_flow", "spectral_radius"),
    "rnn.encoder_decoder": ("EncoderDecoder",),
    "rnn.history": ("History", "TextHistory"),
    "rnn.labels": ("classify", "label_targets"),
    "rnn.layers": ("RNN", "Trace"),
    "rnn.ngrams": ("NGramModel", "ngram_table"),
    "rnn.optim": ("SGD", "Adam"),
    "rnn.padding": ("pad_sequences", "unpad"),
    "rnn.text": ("CharModel", "example_text"),
    "rnn.training": ("fit", "truncated_bptt"),
    "rnn.vocabulary": ("Vocabulary",),
}
_HOME = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    # Names are imported on first use, so that `import fastrec` loads no NumPy, Numba, CuPy or matplotlib.
    if name == "theory":
        value: Any = importlib.import_module(".hopfield.theory", __name__)
    elif name in _HOME:
        value = getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
