"""What recurrent networks need besides their cells: output layer, losses, dropout, optimizers."""

from __future__ import annotations

from .affine import affine_backward, affine_forward
from .training import adam, all_finite, cross_entropy, dropout, sgd, squared_error, squared_norms

__all__ = [
    "adam",
    "affine_backward",
    "affine_forward",
    "all_finite",
    "cross_entropy",
    "dropout",
    "sgd",
    "squared_error",
    "squared_norms",
]
