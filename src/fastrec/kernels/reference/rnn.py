"""Recurrent networks in plain NumPy, the specification of every other backend.

Shapes of all kernels (the letters are told in `fastrec.kernels`): x (m, b, t, i) and tokens (1, 0, 0), or
x (m, b, t, 0) and tokens (m, b, t) int32, numbers of the rows of W_in; lengths (b,) int64 in 0..t; state
(k, b, s) before the first step; W_in (k, i, g h), W_rec (k, h, g h), b (k, g h); hidden (k, b, t, h).
The gradient of an array has its name with a d_ and its shape.  In backward kernels d_hidden (k, b, t, h) is
dE/dh through everything but the next step, d_last (k, b, s) is on the state after the last step (the initial
one in a row of length 0), d_x may be (k, b, t, 0): not wanted, and flow (k, b, t) float64 gets the squared
norm of the total dE/dh, or is (k, b, 0): not wanted.

precision says how products of matrices round the elements of both factors first: "float32" not at all,
"bf16" to the nearest number of 8 significant bits, ties to even, "tf32" to the nearest of 11, ties away from
0.  They are x W_in, h W_rec, y W_rec, h W_out and a W, and in backward kernels all products of a d_ with a
weight or an activation.  Not rounded: rows of W_in that tokens pick and their gradients, gradients of biases,
what is done element by element, sums and results.  "tf32" and "bf16" take float32;
the cpu has no "tf32", and "bf16" where its instructions for that are fast.

Steps at or past a row's length are padding: what x, tokens, targets and gradients hold there is ignored,
and all outputs are 0 there but where it is said that they are not set.
"""

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
