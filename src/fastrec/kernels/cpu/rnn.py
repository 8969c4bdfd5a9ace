"""What recurrent networks need besides their cells: output layer, attention, losses, noise, optimizers."""

from .affine import affine_backward, affine_forward
from .attention import attention_backward, attention_forward, tanh_backward, tanh_forward
from .ctc import ctc
from .prefix_search import ctc_prefix_search
from .training import (
    adam,
    adjust_gradient,
    all_finite,
    binary_cross_entropy,
    cross_entropy,
    dropout,
    normal_noise,
    rmsprop,
    sgd,
    squared_error,
    squared_norms,
)
from .transposition import transpose_matrices

__all__ = [name for name in dir() if not name.startswith("_")]
