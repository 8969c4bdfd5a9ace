"""Figures of trainings: learning curves, and gradients on their way back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..rnn.losses import LOSSES
from .figures import COLOURS, draw_curve, log_scale, new_figure, one_panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..rnn.diagnostics import GradientFlow
    from ..rnn.history import History, TextHistory


def learning_curve_figure(history: History) -> Figure:
    """Draw the losses of a training against the epoch, and the gradient norm below.

    Parameters
    ----------
    history : History
        What `fit` returned.

    Returns
    -------
    matplotlib.figure.Figure
        A new figure of two panels.

    Examples
    --------
    >>> x, targets, mask = fastrec.addition_task(32, 3)
    >>> rnn = fastrec.RNN(2, 4, 2, seed=1)
    >>> history = fastrec.fit(rnn, x, targets, epochs=3, mask=mask, progress=False)
    >>> figure = fastrec.plot.learning_curve_figure(history)
    >>> [ax.get_ylabel() for ax in figure.axes]
    ['cross entropy (nats per step)', 'gradient norm']
    """
    figure = new_figure(6.4, 6.0)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[1.8, 1])
    draw_learning_curve(top, history)
    top.label_outer()
    draw_curve(bottom, history.gradient_norm, "", 0)
    if (history.gradient_norm > 0).any():
        log_scale(bottom, "y")
    bottom.set_ylabel("gradient norm")
    bottom.set_xlabel("time (epochs)")
    return figure


def draw_learning_curve(ax: Axes, history: History) -> Axes:
    """Draw the upper panel of `learning_curve_figure`.

    Each of k networks is a thin line (of more than 500 only some are drawn), and the median of those that
    have not diverged is a thick one. A cross marks the last epoch of a network that diverges. The least loss
    of a single network is marked. The scale is logarithmic where the losses span more than a decade.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Axes to draw into.
    history : History
        What `fit` returned.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.

    Examples
    --------
    >>> x, targets, mask = fastrec.addition_task(32, 3)
    >>> history = fastrec.fit(fastrec.RNN(2, 4, 2, seed=1), x, targets, epochs=3, mask=mask, progress=False)
    >>> ax = fastrec.plot.learning_curve_figure(history).axes[0]
    >>> ax.clear()
    >>> fastrec.plot.draw_learning_curve(ax, history).get_xlabel()
    'time (epochs)'
    """
    curves = {"training": history.train}
    if history.validation is not None:
        curves["validation"] = history.validation
    values = np.concatenate([curve.ravel() for curve in curves.values()])
    values = values[np.isfinite(values)]
    if values.size and 0 < 10 * values.min() < values.max():
        log_scale(ax, "y")
    for style, (name, curve) in enumerate(curves.items()):
        draw_curve(ax, curve, name, style)
    if history.diverged is None and (best := history.best_epoch) >= 0:
        least = curve[best]  # of the last, as `best_epoch` takes it
        ax.plot(best, least, "o", color=COLOURS[style], label=f"least: {least:.3g} in epoch {best}")
    if history.diverged is not None and (lost := history.diverged >= 0).any():
        last = np.maximum(history.diverged[lost] - 1, 0)  # nan where it is epoch 0 that was not finished
        label = f"{lost.sum()} of {len(lost)} networks diverge"
        ax.plot(last, history.train[last, lost], "x", color="black", markersize=5, label=label)
    ax.set_xlabel("time (epochs)")
    ax.set_ylabel(LOSSES[history.loss].unit if history.loss in LOSSES else history.loss)
    ax.locator_params(axis="x", integer=True, min_n_ticks=1)
    ax.legend(frameon=False, fontsize=9)
    return ax


def text_curve_figure(history: TextHistory, baselines: Mapping[str, float]) -> Figure:
    """Draw the losses of a model of text against the passes through it, beside those of other models.

    Parameters
    ----------
    history : TextHistory
        What `CharModel.fit` returned.
    baselines : mapping of str to float
        Held-out losses of other models by name, nats per symbol.

    Returns
    -------
    matplotlib.figure.Figure
        A new figure.

    Examples
    --------
    >>> history = fastrec.CharModel(4, seed=1).fit("tick tock " * 60, epochs=1, progress=False)
    >>> figure = fastrec.plot.text_curve_figure(history, {"2-gram": 1.5})
    >>> figure.axes[0].get_xlabel()
    'passes through the text'
    """
    return one_panel(draw_text_curve, history, baselines)


def draw_text_curve(ax: Axes, history: TextHistory, baselines: Mapping[str, float]) -> Axes:
    """Draw the curves of `text_curve_figure`, with a second axis in bits on the right.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Axes to draw into.
    history : TextHistory
        What `CharModel.fit` returned.
    baselines : mapping of str to float
        Held-out losses of other models by name, nats per symbol. They are dashed lines; those above the
        curves are left out.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.

    Examples
    --------
    >>> history = fastrec.CharModel(4, seed=1).fit("tick tock " * 60, epochs=1, progress=False)
    >>> ax = fastrec.plot.text_curve_figure(history, {}).axes[0]
    >>> fastrec.plot.draw_text_curve(ax, history, {"2-gram": 1.5}).get_ylabel()
    'cross entropy (nats per symbol)'
    """
    marker = "o" if len(history.passes) == 1 else None  # a line of one point is not seen
    ax.plot(history.passes, history.train, "-.", color=COLOURS[0], marker=marker, label="training")
    if history.held_out is not None:
        ax.plot(history.passes, history.held_out, color=COLOURS[1], label="held out")
        best = history.best
        least = history.held_out[best]
        ax.plot(history.passes[best], least, "o", color=COLOURS[1])
        place: Any = {"xytext": (0, -15), "textcoords": "offset points", "ha": "center", "color": COLOURS[1]}
        ax.annotate(f"{least:.3f}", (history.passes[best], least), fontsize=9, **place)
    low, high = ax.get_ylim()
    low = min([low, *(value - 0.05 * (high - value) for value in baselines.values())])
    line = 0.055 * (high - low)
    place = {"fontsize": 8, "color": "0.35", "ha": "right", "transform": ax.get_yaxis_transform()}
    place["bbox"] = {"color": "white", "alpha": 0.7, "linewidth": 0, "pad": 0.5}
    under = np.inf
    for name, value in sorted(baselines.items(), key=lambda item: -item[1]):
        if value > high:  # so that the curves keep the room
            continue
        ax.axhline(value, color="0.55", linewidth=0.9, linestyle="--", zorder=1)
        under = min(value + 0.2 * line, under - line)  # on its line, or under the text before
        ax.text(0.99, under, f"{name}: {value:.2f}", zorder=1.5, **place)  # behind the curves
        low = min(low, under - 0.2 * line)
    ax.set_ylim(low, high)
    ax.set_xlabel("passes through the text")
    ax.set_ylabel("cross entropy (nats per symbol)")
    bits = ax.secondary_yaxis(
        "right", functions=(lambda nats: nats / np.log(2), lambda bits: bits * np.log(2))
    )
    bits.set_ylabel("bits per symbol")
    ax.legend(frameon=False, fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    return ax


def gradient_flow_figure(flows: Mapping[str, GradientFlow]) -> Figure:
    """Draw the sizes of gradients at each step on a logarithmic scale: vanishing, healthy or exploding.

    Parameters
    ----------
    flows : mapping of str to GradientFlow
        Results of `gradient_flow`, by the name of the network.

    Returns
    -------
    matplotlib.figure.Figure
        A new figure.

    Examples
    --------
    >>> rnn = fastrec.RNN(3, 8, 3, seed=1)
    >>> tokens = np.arange(40).reshape(2, 20) % 3
    >>> figure = fastrec.plot.gradient_flow_figure({"elman": fastrec.gradient_flow(rnn, tokens, tokens)})
    >>> figure.axes[0].get_xlabel()
    'time t (steps)'
    """
    return one_panel(draw_gradient_flow, flows)


def draw_gradient_flow(ax: Axes, flows: Mapping[str, GradientFlow]) -> Axes:
    """Draw the curves of `gradient_flow_figure`, one for each layer.

    Each of k networks is a thin line (of more than 500 only some are drawn), and the median of all is a thick
    one. Norms of 0 are not drawn.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Axes to draw into.
    flows : mapping of str to GradientFlow
        Results of `gradient_flow`, by the name of the network.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.

    Examples
    --------
    >>> rnn = fastrec.RNN(3, 8, 3, seed=1)
    >>> tokens = np.arange(40).reshape(2, 20) % 3
    >>> flows = {"elman": fastrec.gradient_flow(rnn, tokens, tokens)}
    >>> ax = fastrec.plot.gradient_flow_figure(flows).axes[0]
    >>> fastrec.plot.draw_gradient_flow(ax, flows).get_yscale()
    'log'
    """
    curves = []
    for name, flow in flows.items():
        layers = np.moveaxis(flow.norms, -2, 0)
        for layer, norms in enumerate(layers):
            words = [name] * bool(name) + [f"layer {layer}"] * (len(layers) > 1)
            curves.append((", ".join(words), norms.T))
    for style, (label, norms) in enumerate(curves):
        draw_curve(ax, np.where(norms > 0, norms, np.nan), label, style)
    if any((norms > 0).any() for _, norms in curves):
        log_scale(ax, "y")
    ax.set_xlabel("time t (steps)")
    ax.set_ylabel("gradient norm |dE/dh$_t$|")
    ax.locator_params(axis="x", integer=True, min_n_ticks=1)
    if any(label for label, _ in curves):
        ax.legend(frameon=False, fontsize=9)
    return ax
