"""How gradients vanish or explode on their way back in time, and the spectral radius that decides it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..backend import move
from ..display import Column, Displayed, by_index
from ..kernels.interruption import uninterrupted
from .config import Array, suffix
from .initialization import spectral_radii
from .losses import Loss, read_targets
from .network import RNN, require_network
from .validation import Purpose

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False, repr=False)
class GradientFlow(Displayed):
    """Sizes of the gradients of a loss E with respect to the hidden units of each step.

    Attributes
    ----------
    norms : ndarray of shape (layers, t)
        Root mean square of ``|dE/dh_t|`` over the sequences that reach step t, the Euclidean norm of the full
        derivative through all later steps; nan where no sequence reaches. NumPy float64, for k networks
        (k, layers, t).

    Examples
    --------
    >>> rnn = fastrec.RNN(3, 8, 3, seed=1)
    >>> tokens = np.arange(40).reshape(2, 20) % 3
    >>> fastrec.gradient_flow(rnn, tokens, tokens).norms.shape
    (1, 20)
    """

    norms: NDArray[np.float64]

    def _summary(self) -> dict[str, Any]:
        *networks, layers, steps = self.norms.shape
        return {"networks": networks[0] if networks else 1, "layers": layers, "steps": steps}

    def _columns(self) -> list[Column]:
        return by_index((*["network"] * (self.norms.ndim - 2), "layer", "step"), norm=self.norms)

    def _figure(self) -> Figure:
        from .. import plot

        return plot.gradient_flow_figure({"": self})

    def plot(self, path: str | os.PathLike[str] | None = None, ax: Axes | None = None) -> Axes:
        """Draw the norms of each layer against time, with a logarithmic scale.

        Parameters
        ----------
        path : path, optional
            File to write the figure to, in the format of its suffix.
        ax : matplotlib.axes.Axes, optional
            Axes to draw into; the default is a new figure, as of `History.plot`.

        Returns
        -------
        matplotlib.axes.Axes
            The axes drawn into.

        Raises
        ------
        ValueError
            If the suffix names no format.
        OSError
            If the file cannot be written.
        """
        from ..plot import figures, training

        draw = training.draw_gradient_flow
        return figures.draw_and_save(path, ax, self._figure, lambda axes: draw(axes, {"": self}))


def gradient_flow(
    rnn: RNN,
    x: ArrayLike,
    targets: ArrayLike,
    loss: Loss = "cross_entropy",
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    state: ArrayLike | None = None,
    *,
    tokens: bool | None = None,
) -> GradientFlow:
    """Measure the gradient of a loss at each step (Pascanu, Mikolov & Bengio, ICML 2013).

    The loss is the sum over the steps that count, so that norms do not depend on the number of sequences, or
    what a function makes of them. With a mask of the last step alone they show how fast its gradient vanishes
    or explodes backwards in time.

    Parameters
    ----------
    rnn : RNN
        One network, or k at once.
    x, targets : array_like
        As in `RNN.loss_and_gradients`.
    loss : str or callable, default "cross_entropy"
        As in `RNN.loss_and_gradients`.
    lengths, mask, state : array_like, optional
        As in `RNN.loss_and_gradients`.
    tokens : bool, optional
        As in `RNN.forward`.

    Returns
    -------
    GradientFlow
        The norms, for each layer and step.

    Raises
    ------
    ValueError
        As `RNN.loss_and_gradients`.

    Examples
    --------
    >>> rnn = fastrec.RNN(3, 8, 3, seed=1)
    >>> tokens = np.arange(40).reshape(2, 20) % 3
    >>> last = np.arange(20) == 19
    >>> norms = fastrec.gradient_flow(rnn, tokens, tokens, mask=np.tile(last, (2, 1))).norms
    >>> bool(norms[0, 0] < norms[0, -1])
    True
    """
    require_network(rnn)
    device = rnn._device(x, state, lengths, targets, mask)
    batch = rnn._read(x, state, lengths, Purpose.GRADIENTS, device, tokens=tokens)
    reduction = "mean" if callable(loss) else "sum"
    spec = read_targets(rnn._config, batch, targets, loss, reduction, mask)
    _, gradients, _ = rnn._learn(batch, spec, ["flow"])
    squares = move(gradients["flow"], "cpu")
    reached = squares.shape[-2] if batch.valid is None else move(batch.valid, "cpu").sum(axis=0)
    with uninterrupted(), np.errstate(invalid="ignore"):  # 0 / 0 where no sequence is as long
        return GradientFlow(np.sqrt(squares.sum(axis=-2) / reached))


def spectral_radius(rnn: RNN) -> NDArray[np.float64]:
    """Return the largest absolute eigenvalue of the recurrent weights of each layer.

    Gradients can explode if it is above about 1 (divided by the slope of the activation), and vanish below
    (Pascanu, Mikolov & Bengio, ICML 2013).

    Parameters
    ----------
    rnn : RNN
        One network, or k at once.

    Returns
    -------
    ndarray
        float64. Of W_rec (layers,), for "gru" (layers, 3) and LSTMs (layers, 4) of its block of each gate.
        "jordan" (1,): of W_rec W_out, which takes an output to the next. A bidirectional network has two in
        place of each layer, forwards and backwards. For k networks with a leading axis k.

    Raises
    ------
    ValueError
        If weights are not finite.

    Examples
    --------
    The first weights are orthogonal:

    >>> fastrec.spectral_radius(fastrec.RNN(3, 8, num_layers=2, seed=1)).round(5)
    array([1., 1.])
    """
    require_network(rnn)
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
        radii.append(spectral_radii(weights, c.kind.gates))
    stacked: Array = np.stack(radii, axis=len(c.lead))
    stacked = stacked.reshape(*c.lead, c.num_layers * c.directions, c.kind.gates)
    return stacked[..., 0] if c.kind.gates == 1 else stacked
