"""Compute kernels, with the same names, argument names and argument order on every backend.  The one
exception is the keyword ``precision`` of the RNN kernels, which those of backend "cpu" do not take.

Inputs come first, then outputs, which the caller allocates; sizes follow from shapes.
Kernels trust their arguments (the public objects have checked them) and never import public code.

Dimension letters: n neurons, p patterns, b batch rows, k independent networks, w words of a packed
state, u words of a packed unit; t time, i inputs, h hidden, o outputs, g gates, s the width of a
recurrent state (h; for lstm 2h = [h | c], for jordan o), m = 1 or k: 1 is one shared by all networks.

Packed arrays hold one unit (or pattern) in each bit, +1 as 1 and -1 as 0, least significant bit first, in
uint64 words; the bits past the end are 0.  ``packed`` (k, p, w = words(n)) has one row for each pattern,
``units`` (k, n, u = words(p)) is its transpose.

Random streams are Philox4x32-10 (Salmon et al., SC 2011).  The counter of a block of four 32-bit words
is (block, row, network, stream | step << 8), so that any bit can be computed without the ones before it,
on any backend and in any order:

========= ============== ============= ====================================================
stream    row            step          a block holds
========= ============== ============= ====================================================
PATTERN   pattern        0             128 units of a random pattern
CORRUPT   row            load p, or 0  two 64-bit draws, floor(draw * m / 2^64) in 0..m-1
ORDER     sweep          load p, or 0  two 64-bit sort keys; the order is their stable argsort
DERIVE    0              0             a key for another purpose (block, network: its number)
SAMPLE    row            0             two 64-bit draws, each for a token
DROPOUT   row t + step   layer         eight 16-bit draws, each for a unit, low bits first
BIASED    pattern        0             two 64-bit draws, each for a unit of a biased pattern
GLAUBER   sweep          network       two 64-bit draws, each for an update; the row takes the network's place
NOISE     row t + step   layer         eight 16-bit draws, each for a normal number, low bits first
========= ============== ============= ====================================================
"""

from __future__ import annotations

PATTERN, CORRUPT, ORDER, DERIVE, SAMPLE, DROPOUT, BIASED, GLAUBER, NOISE = range(1, 10)
TANH, RELU, LOGISTIC, SOFTPLUS = 0, 1, 2, 3
ACTIVATIONS = ("tanh", "relu", "logistic", "softplus")
LINEAR = -1  # f(z) = z, of reservoirs only


def words(bits: int) -> int:
    """Number of 64-bit words that hold `bits` bits."""
    return -(-bits // 64)
