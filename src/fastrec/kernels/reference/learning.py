"""Learning rules whose couplings are not simply sums over the patterns."""

from __future__ import annotations

import math

import numpy as np

from .packing import spins


def storkey(
    packed: np.ndarray, units: np.ndarray, gram: np.ndarray, amplitudes: np.ndarray, strengths: np.ndarray
) -> None:
    """Storkey's rule: strengths (k, p, n) int64 get the b of W = sum_mu x_mu b_mu' + b_mu x_mu', i != j.

    packed (k, p, w) and units (k, n, u) are the patterns, gram (k, p, p) int32 their overlaps.  The rule
    w += (x x' - x h' - h x') / n, where h_ij = sum of w_ik x_k over k other than i and j, is
    w += (2/n) w + (x x' - x g' - g x') / n with g = w x.  So w = W / (n S) (1 + 2/n)^mu, where pattern
    mu = 1, 2, ... adds the b above with b = amplitude x - W x / (n + 2), rounded (halves up), and
    amplitude = (S / 2) (1 + 2/n)^-mu, rounded, from amplitudes (p,) int64.

    A. Storkey, Increasing the capacity of a Hopfield network without sacrificing functionality, ICANN 1997.
    """
    k, p, _ = packed.shape
    n = units.shape[1]
    for network in range(k):
        x = spins(packed[network], n)
        for mu in range(p):
            seen, b = x[:mu], strengths[network, :mu]
            field = seen.T @ (b @ x[mu]) + b.T @ gram[network, :mu, mu].astype(np.int64)
            field -= 2 * (seen * b).sum(axis=0) * x[mu]
            strengths[network, mu] = amplitudes[mu] * x[mu] - (2 * field + n + 2) // (2 * (n + 2))


def perceptron(
    units: np.ndarray,
    gram: np.ndarray,
    thresholds: np.ndarray,
    margin: float,
    self_coupling: bool,
    max_passes: int,
    strengths: np.ndarray,
    passes: np.ndarray,
    stability: np.ndarray,
) -> None:
    """The perceptron rule: strengths (k, n, p) int32 get how often each unit has learnt each pattern.

    The couplings of unit i are J_j = sum_mu strength x_mu_i x_mu_j, j != i unless self_coupling.  In a pass
    unit i goes through the patterns, units (k, n, u) with overlaps gram (k, p, p) int32.  It learns those of
    a stability x_mu_i (sum_j J_j x_mu_j - threshold_i) not above margin |J|, where thresholds (k, n) int64
    and |J| = sqrt(sum J_j^2).  It stops after a pass without one: passes (k, n) int32 is their number with
    that last one, or 0 where max_passes did not suffice.  stability (k, n) float64 gets the least stability
    over |J|.  The caller keeps (max_passes p)^2 n below 2^62, and thresholds below 2^61.

    E. Gardner, The space of interactions in neural network models, J. Phys. A 21, 257 (1988).
    """
    k, n, _ = units.shape
    p = gram.shape[1]
    own = 0 if self_coupling else 1  # the term j = i of x_mu x_nu, times x_mu_i x_nu_i
    strengths[:], passes[:] = 0, 0
    for network in range(k):
        for i in range(n):
            x, learnt = spins(units[network, i], p), strengths[network, i]
            # Row mu: the products of the patterns with mu, each with the sign of its unit i.
            products = x[:, None] * x * gram[network] - own
            stabilities, squares = -x * thresholds[network, i], 0
            for done in range(1, max_passes + 1):
                before = learnt.sum()
                for mu in range(p):
                    if stabilities[mu] <= margin * math.sqrt(squares):
                        # |J + y|^2, of a field without its threshold
                        field = stabilities[mu] + x[mu] * thresholds[network, i]
                        squares += 2 * int(field) + n - own
                        stabilities += products[mu]
                        learnt[mu] += 1
                if learnt.sum() == before:
                    passes[network, i] = done
                    break
            stability[network, i] = stabilities.min() / math.sqrt(squares) if squares else -np.inf
