"""Recurrent networks on the GPU: all steps of a layer, forward or backward, in one call."""

from __future__ import annotations

from .affine import affine_backward, affine_forward
from .elman import elman_backward, elman_forward
from .gru import gru_backward, gru_forward
from .jordan import jordan_backward, jordan_forward
from .lstm import lstm_backward, lstm_forward
from .training import adam, all_finite, cross_entropy, dropout, sgd, squared_error, squared_norms

__all__ = [
    "adam",
    "affine_backward",
    "affine_forward",
    "all_finite",
    "cross_entropy",
    "dropout",
    "elman_backward",
    "elman_forward",
    "gru_backward",
    "gru_forward",
    "jordan_backward",
    "jordan_forward",
    "lstm_backward",
    "lstm_forward",
    "sgd",
    "squared_error",
    "squared_norms",
]
