"""The loss of a batch as a function of the parameters: its values, and products with its curvature."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import accumulate, pairwise
from math import ceil

import numpy as np

from . import passes
from .config import Array
from .dataset import Sequences
from .device import ComputeDevice, compute_device
from .losses import Loss, LossSpec, divisor, make_loss_spec
from .network import RNN
from .passes import Activations
from .randomness import NOTHING, Drawn
from .validation import Purpose

FLOAT64 = np.dtype(np.float64)
STEP = 1e-6  # of central differences; below eps^(1/3), as third derivatives through many steps are large


class Objective:
    """The mean loss of some sequences as a function of the trained parameters of a network, in float64.

    Points are arrays (k, n), where the network computes: the n numbers of the trained parameters of each of k
    networks, one key after the other.  The network itself stays as it is.  drawn: dropout and noise, the same
    at all points.
    """

    def __init__(
        self,
        rnn: RNN,
        device: ComputeDevice,
        data: Sequences,
        loss: Loss,
        keys: Iterable[str],
        drawn: Drawn = NOTHING,
    ) -> None:
        config = replace(rnn._config, dtype=FLOAT64)
        parameters = {key: array.astype(FLOAT64) for key, array in rnn.parameters.items()}
        self.device: ComputeDevice = compute_device(device.backend)
        self.loss = loss
        self.drawn = drawn
        self.keys: tuple[str, ...] = tuple(keys)
        self.rnn: RNN = RNN._of(config, parameters, None, device.backend, "float32", rnn._constraints)
        self.data: Sequences = data._replace(x=in_float64(data.x), targets=in_float64(data.targets))
        self.spec: LossSpec = self.specify(self.data)
        ends = accumulate((parameters[key].size // config.k for key in self.keys), initial=0)
        self.parts: list[slice] = [slice(*ends) for ends in pairwise(ends)]  # of a point, one for each key

    def specify(self, data: Sequences) -> LossSpec:
        """The mean loss of sequences."""
        c, count = self.rnn._config, data.counted.sum()
        goal = data.goal(data.counted, count)
        return make_loss_spec(c, self.device, goal, self.loss, divisor(c, self.loss, "mean", count))

    def move_to(self, point: Array) -> None:
        """Give the copy of the network the parameters of a point."""
        for key, part in zip(self.keys, self.parts, strict=True):
            array = self.rnn.parameters[key]
            array[...] = point[:, part].reshape(array.shape)

    def run(self, point: Array, data: Sequences, purpose: Purpose) -> Activations:
        """What the network computes of sequences at a point."""
        self.move_to(point)
        batch = self.rnn._batch(self.device, data.x, data.lengths, None, purpose, self.drawn)
        return passes.forward(self.rnn._config, batch)

    def losses(self, point: Array) -> Array:
        """The losses (k,) at a point."""
        made = self.run(point, self.data, Purpose.OUTPUTS)
        unwanted = self.device.xp.empty((*made.outputs.shape[:3], 0))
        return passes.take_loss(made.batch, self.spec, made.outputs, unwanted)

    def curvature(self, point: Array, share: float) -> Curvature:
        """The curvature at a point, of a share of the sequences, the first of them."""
        rows, whole = np.arange(ceil(share * len(self.data.counted))), self.data
        if whole.lengths is None or self.drawn == NOTHING:
            return Curvature(self, point, whole.rows(rows))
        # What is drawn depends on the number of steps, which stays that of all sequences.
        part = whole._replace(lengths=None).rows(rows)
        return Curvature(self, point, part._replace(lengths=whole.lengths[rows]))


class Curvature:
    """Products with the Gauss-Newton matrix J' H J of an objective at a point.

    J is the Jacobian of the outputs, H the Hessian of the loss as a function of them.  H J v is the
    derivative along v of the gradient with respect to the outputs: a central difference of two forward
    passes, which a backward pass multiplies by J'.
    """

    def __init__(self, objective: Objective, point: Array, data: Sequences) -> None:
        self.objective = objective
        self.point = point
        self.data = data
        self.spec: LossSpec = objective.specify(data)
        self.made: Activations = objective.run(point, data, Purpose.TRACE)
        self.size: Array = 1 + length(point)

    def product(self, vector: Array, structural: Array | None = None) -> Array:
        """(J' H J + S) v for v (k, n).

        structural: (k,), the weights of S = J_h' J_h / steps that count, where J_h is the Jacobian of the
        hidden units of the top layer.
        """
        objective, made, xp = self.objective, self.made, self.objective.device.xp
        norm = length(vector)
        step = STEP * self.size / xp.where(norm > 0, norm, 1)
        (ahead, d_ahead), (behind, d_behind) = (
            self.differentiate(self.point + side * step[:, None] * vector) for side in (1, -1)
        )
        width = 2 * step[:, None, None, None]
        d_outputs, d_hidden = (d_ahead - d_behind) / width, None
        if structural is not None:
            weight = structural / self.data.counted.sum()
            d_hidden = (ahead - behind) * (weight[:, None, None, None] / width)
        if objective.rnn.output_size is None:
            d_hidden = d_outputs if d_hidden is None else d_outputs + d_hidden
        objective.move_to(self.point)
        d_last = xp.zeros_like(made.batch.start)
        gradients = passes.backward(made, d_outputs, d_hidden, d_last, ())
        found = objective.rnn._public_gradients(gradients)
        return xp.concatenate([found[key].reshape(len(vector), -1) for key in objective.keys], axis=1)

    def differentiate(self, point: Array) -> tuple[Array, Array]:
        """The hidden units at a point, and the gradient of the loss with respect to the outputs there."""
        made = self.objective.run(point, self.data, Purpose.OUTPUTS)
        d_outputs = made.batch.device.empty_like(made.outputs)
        passes.take_loss(made.batch, self.spec, made.outputs, d_outputs)
        return made.hidden, d_outputs


def in_float64(array: Array) -> Array:
    """The array itself if it holds integers, else its numbers in float64."""
    return array.astype(FLOAT64) if array.dtype.kind == "f" else array


def dot(a: Array, b: Array) -> Array:
    """Inner products (k,) of the rows of two arrays (k, n)."""
    return (a * b).sum(axis=1)


def length(a: Array) -> Array:
    """Norms (k,) of the rows of an array (k, n)."""
    return dot(a, a) ** 0.5
