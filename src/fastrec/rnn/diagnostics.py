"""How gradients vanish or explode on their way back in time, and the spectral radius that decides it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..backend import move
from ..display import Displayed
from .config import Array, suffix
from .network import RNN
from .validation import Loss, read_targets

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False, repr=False)
class GradientFlow(Displayed):
    """Sizes of the gradients of a loss E with respect to the hidden units of each step.

    norms: NumPy (layers, t) float64, of k networks (k, layers, t): root mean square over the sequences that
        reach step t of |dE/dh_t|, the Euclidean norm of the whole derivative through all later steps; nan at
        steps that none reaches.
    """

    norms: NDArray[np.float64]

    def _summary(self) -> dict[str, Any]:
        *networks, layers, steps = self.norms.shape
        return {"networks": networks[0] if networks else 1, "layers": layers, "steps": steps}

    def _figure(self) -> Figure:
        from .. import plot

        return plot.gradient_flow_figure({"": self})

    def plot(self, path: str | os.PathLike[str] | None = None, ax: Axes | None = None) -> Axes:
        """Draw the norms of each layer against time, log scale, and return the axes; as `History.plot`."""
        from .. import plot

        if path is not None:
            plot.require_format(path)
        drawn = self._figure().axes[0] if ax is None else plot.draw_gradient_flow(ax, {"": self})
        if path is not None:
            plot.save_figure(drawn.figure.figure, path)
        return drawn


def gradient_flow(
    rnn: RNN,
    x: ArrayLike,
    targets: ArrayLike,
    loss: Loss = "cross_entropy",
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    state: ArrayLike | None = None,
) -> GradientFlow:
    """How large the gradient of the loss is at each step (Pascanu, Mikolov & Bengio, ICML 2013).

    Arguments and what is raised: as `RNN.loss_and_gradients`, where E is the sum over the steps that count,
    so that norms do not depend on the number of sequences.  A mask that leaves the last step only shows how
    fast its gradient fades backwards.
    """
    at = rnn._place(x, state, lengths, targets, mask)
    batch = rnn._read(x, state, lengths, at, gradients=True)
    goal = read_targets(rnn._config, batch, targets, loss, "sum", mask)
    trace = rnn._forward(batch)
    outputs = rnn._outputs(trace)
    d_outputs = at.xp.empty_like(outputs)
    rnn._losses(batch, goal, outputs, d_outputs)
    found = rnn._gradients(trace, rnn._public(d_outputs), flow=True)
    squares = move(found["flow"], "cpu")
    reached = squares.shape[-2] if batch.valid is None else move(batch.valid, "cpu").sum(axis=0)
    with np.errstate(invalid="ignore"):  # 0 / 0 where no sequence is as long
        return GradientFlow(np.sqrt(squares.sum(axis=-2) / reached))


def spectral_radius(rnn: RNN) -> NDArray[np.float64]:
    """The largest absolute eigenvalue of the recurrent weights of each layer, float64.

    Above about 1 (times the slope of the activation) gradients can explode, below they vanish (Pascanu,
    Mikolov & Bengio, ICML 2013).  "elman" (layers,): of W_rec; "gru" (layers, 3) and "lstm" (layers, 4): of
    the block of W_rec of each gate; "jordan" (1,): of W_rec W_out, which takes an output to the next.
    k networks have a leading axis k.  Raises ValueError if weights are not finite.
    """
    c = rnn._config
    rnn._check()
    parameters, radii = rnn._on_host(), []
    for layer in range(c.num_layers):
        keys = ["W_rec" + suffix(layer)] + ["W_out"] * c.kind.feeds_back_output
        for key in keys:
            if not np.isfinite(parameters[key]).all():
                raise ValueError(f'parameters["{key}"] is not finite everywhere; there are no eigenvalues')
        weights = parameters[keys[0]].astype(np.float64)
        if c.kind.feeds_back_output:
            weights = weights @ parameters["W_out"]
        blocks = np.stack(np.split(weights, c.kind.gates, axis=-1), axis=-3)
        radii.append(np.abs(np.linalg.eigvals(blocks)).max(axis=-1))
    found: Array = np.stack(radii, axis=-2)
    return found[..., 0] if c.kind.gates == 1 else found
