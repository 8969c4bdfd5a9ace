"""What recurrent networks need besides their cells: output layer, losses, dropout, optimizers."""

from .affine import affine_backward, affine_forward
from .training import adam, all_finite, cross_entropy, dropout, sgd, squared_error, squared_norms
from .transposition import transpose_matrices

__all__ = [name for name in dir() if not name.startswith("_")]
