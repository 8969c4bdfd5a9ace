"""Hessian-free optimisation: Newton steps by conjugate gradients on Gauss-Newton products."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..backend import BackendChoice, array_module, backend_of, move
from ..messages import shown
from ..validation import as_int, as_number, number
from .config import MAX_SIZE, Array
from .device import ComputeDevice
from .objective import FLOAT64, Objective, dot
from .optimizers import Optimizer, State, Update, WeightDecay, read_decay
from .validation import as_array

GROWTH = 1.3  # from the number of one iterate that is kept to that of the next
HALVINGS = 12  # of a step that makes the loss no smaller, before there is none
MOST_DAMPING = 1e100  # where steps have long been 0
SUFFICIENT = 0.01  # share of the decrease along the gradient that a step must make


class HessianFree(Optimizer):
    """Truncated Newton steps by conjugate gradients, without ever making the matrix.

    Near the parameters p a loss f is about q(d) = f(p) + g'd + d'A d / 2, where g is the gradient and
    A = G + damping (1 + structural J_h'J_h) + weight_decay. G = J'H J is the Gauss-Newton matrix: J the
    Jacobian of the outputs, H the Hessian of the loss as a function of the outputs, J_h the Jacobian of the
    hidden units. Conjugate gradients find the d that makes q least, in iterations that each take one product
    with A: two forward passes and a backward one (Martens, ICML 2010; with structural damping, which keeps
    hidden units from changing much at once, Martens & Sutskever, ICML 2011).

    An update starts from the last solution times `decay`, and ends when q has fallen by less than 0.0005 k of
    itself in k = max(10, i / 10) of i iterations. Of some of the iterates the last one is taken before which
    the loss is greater, and halved until the loss falls. The damping of the next update is 3/2 of this one's
    if the loss has fallen by less than a quarter of what q without damping says, and 2/3 of it if by more
    than three quarters.

    `fit` takes it, with the losses "cross_entropy", "mse", "mean_squared_error" and "bce". All is computed in
    float64, on a copy of the parameters where these are float32. k networks have one search each, at once.

    Parameters
    ----------
    damping : float, default 1.0
        Of the first update, above 0.
    structural : float, default 0.0
        Weight of the hidden units of the top layer beside those of the parameters, in units of the damping.
    curvature : float, default 1.0
        Share of the sequences of a batch, the first of them, that products are taken on, above 0 to 1. The
        gradient and the losses are those of the whole batch.
    iterations : int, default 250
        Most iterations of an update.
    decay : float, default 0.95
        Share of the last solution that the next search starts from, from 0 to 1.
    learning_rate : float or array_like of shape (k,), default 1.0
        Share of the solution that is tried first.
    weight_decay : float or mapping of str to float, default 0.0
        Half of it times the sum of squares of the parameters, or of those whose keys the mapping has, is
        added to the loss.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> bits = np.random.default_rng(0).integers(0, 2, (256, 6))
    >>> rnn = fastrec.RNN(2, 8, 2, dtype=np.float64, seed=1)
    >>> options = {"optimizer": fastrec.HessianFree(0.1), "batch_size": 256, "seed": 1}
    >>> history = fastrec.fit(rnn, bits, np.roll(bits, 1, axis=1), mask=np.arange(6) > [[0]] * 256, **options)
    >>> bool(history.train[-1] < 0.01 < history.train[0])
    True
    """

    _slot_names = ("solution",)
    _decoupled = True
    _searches = True
    _unsaid: ClassVar[dict[str, Any]] = {"clip": None, "clip_value": None}

    def __init__(
        self,
        damping: float = 1.0,
        structural: float = 0.0,
        curvature: float = 1.0,
        iterations: int = 250,
        decay: float = 0.95,
        learning_rate: ArrayLike = 1.0,
        weight_decay: WeightDecay = 0.0,
    ) -> None:
        super().__init__(learning_rate, None, None)
        self._first_damping = number("damping", damping, 0)
        self._damping = np.array(self._first_damping)
        self.structural: float = number("structural", structural, 0, closed=True)
        self.curvature: float = as_number("curvature", curvature, np.finfo(float).tiny, 1)
        self.iterations: int = as_int("iterations", iterations, 1, MAX_SIZE)
        self.decay: float = as_number("decay", decay, 0, 1)
        self.weight_decay: float | dict[str, float] = read_decay(weight_decay)

    @property
    def damping(self) -> NDArray[np.float64]:
        """Damping of the next update, NumPy float64 of shape () or (k,)."""
        return self._damping.copy()

    @property
    def settings(self) -> dict[str, Any]:
        return super().settings | {"damping": self._first_damping}

    def step(
        self,
        parameters: Mapping[str, Array],
        gradients: Mapping[str, Array],
        models: int | None = None,
        backend: BackendChoice | None = None,
    ) -> NoReturn:
        """Raise ValueError: gradients do not suffice.

        Parameters
        ----------
        parameters, gradients, models, backend
            As of other optimisers.

        Raises
        ------
        ValueError
            Always.

        Examples
        --------
        >>> fastrec.HessianFree().step({"w": np.ones(2)}, {"w": np.ones(2)})
        Traceback (most recent call last):
        ValueError: HessianFree takes the loss itself, not only its gradients; use fastrec.fit
        """
        raise ValueError("HessianFree takes the loss itself, not only its gradients; use fastrec.fit")

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        if not isinstance(state, Mapping) or "damping" not in state:
            raise ValueError(f"state is {shown(state)}; give what state_dict of a HessianFree returned")
        damping = move(as_array("damping", state["damping"]), "cpu")
        if damping.dtype != FLOAT64 or damping.ndim > 1 or not ((damping > 0) & (damping < np.inf)).all():
            raise ValueError(f"damping is {shown(damping)}; it must be a positive number, or k of them")
        super().load_state_dict({name: array for name, array in state.items() if name != "damping"})
        self._damping = damping.copy()

    def _state_dict(self, state: State) -> dict[str, Array]:
        return super()._state_dict(state) | {"damping": self.damping}

    def _slots(self, parameters: Mapping[str, Array], models: int | None, backend: str) -> State:
        if self._damping.ndim and self._damping.shape != (models,):
            raise ValueError(
                f"damping has {self._damping.size} values, one each for as many networks, but models is "
                f"{models}; use a new HessianFree"
            )
        return super()._slots(parameters, models, backend)

    def _plan(self, update: Update, active: NDArray[np.bool_], factor: float, objective: Objective) -> Update:
        xp, backend = update.device.xp, update.device.backend

        def joined(*of_keys: Array) -> Array:
            return xp.concatenate(of_keys, axis=1)

        point, gradient, last = (
            joined(*(arrays[i].astype(FLOAT64) for arrays in update.arrays.values())) for i in range(3)
        )
        shapes = {key: arrays[0].shape for key, arrays in update.arrays.items()}
        free = joined(*(update.trained.get(key, xp.ones(shape, np.bool_)) for key, shape in shapes.items()))
        decay = joined(*(xp.full(shape, self._decay(key)) for key, shape in shapes.items()))
        weight = xp.where(free, decay, 0)
        on = move(active, backend)
        gradient, last = (xp.where(on[:, None], array, 0) for array in (gradient + weight * point, last))
        damping = xp.zeros(len(active)) + move(self._damping, backend)
        structural = self.structural * damping if self.structural else None
        curvature = objective.curvature(point, self.curvature)

        def value(step: Array) -> Array:
            moved = point + step
            losses = objective.losses(moved) + dot(weight * moved, moved) / 2
            return xp.where(xp.isfinite(losses), losses, np.inf)

        def product(vector: Array, structural: Array | None = None) -> Array:
            return xp.where(free, curvature.product(vector, structural), 0) + weight * vector

        def damped(vector: Array) -> Array:
            return product(vector, structural) + damping[:, None] * vector

        iterates = conjugate_gradients(damped, -gradient, self.decay * last, self.iterations)
        step, losses = go_back(value, iterates, on)
        before, slope = value(xp.zeros_like(point)), dot(gradient, step)
        promised = xp.minimum(slope + dot(step, product(step)) / 2, -np.finfo(float).tiny)
        ratio = (losses - before) / promised
        damping = damping * xp.where(ratio > 3 / 4, 2 / 3, xp.where(ratio >= 1 / 4, 1, 3 / 2))
        damping = xp.minimum(damping, MOST_DAMPING)
        rate = search_line(value, step, before, slope, self._rate(active, backend) * factor)
        step = rate[:, None] * step
        arrays = {
            key: (*update.arrays[key], step[:, part], iterates[-1][:, part])
            for key, part in zip(update.arrays, objective.parts, strict=True)
        }
        return update._replace(arrays=arrays, damping=move(damping, "cpu"))

    def _apply(self, update: Update, active: NDArray[np.bool_], factor: float = 1.0) -> None:
        super()._apply(update, active, factor)
        damping = np.where(active, update.damping, self._damping)
        self._damping = damping if len(damping) > 1 else damping.reshape(self._damping.shape)

    def _run(
        self, at: ComputeDevice, arrays: tuple[Array, ...], scale: Array, rate: Array, decay: float
    ) -> None:
        parameter, _, last, step, solution = arrays
        parameter += step.astype(parameter.dtype)
        last[...] = solution.astype(last.dtype)


def go_back(value: Callable[[Array], Array], iterates: list[Array], on: Array) -> tuple[Array, Array]:
    """The last iterate (k, n) before which the loss is greater, and its losses (k,).  on: networks (k,)."""
    xp, step, losses = array_module(backend_of(on)), iterates[-1], value(iterates[-1])
    for earlier in reversed(iterates[:-1]):
        values = value(earlier)
        on = on & (values < losses)
        if not on.any():
            break
        step, losses = xp.where(on[:, None], earlier, step), xp.where(on, values, losses)
    return step, losses


def search_line(
    value: Callable[[Array], Array], step: Array, before: Array, slope: Array, rate: Array
) -> Array:
    """Halve rates (k,) until the loss is enough below that before; 0 if that takes too many halvings."""
    xp = array_module(backend_of(rate))
    for _ in range(HALVINGS):
        short = value(rate[:, None] * step) > before + SUFFICIENT * rate * xp.minimum(slope, 0)
        if not short.any():
            return rate
        rate = xp.where(short, rate / 2, rate)
    return xp.where(short, 0, rate)


def conjugate_gradients(
    product: Callable[[Array], Array],
    b: Array,
    x: Array,
    most: int,
    tolerance: float = 0.0005,
) -> list[Array]:
    """Make q(x) = x'A x / 2 - b'x small for k positive definite matrices A at once.

    product: A v for v (k, n).  b, x: (k, n), x the start.  most: iterations.  tolerance: iteration i of a
    network is its last if q has fallen by less than tolerance k of itself in the last k = max(10, i // 10)
    (Martens, ICML 2010).  Returns iterates (k, n), ever fewer of later ones, and the last.
    """
    xp = array_module(backend_of(b))
    residual = b - product(x)
    direction, square = residual, dot(residual, residual)
    running, values, iterates, kept = square > 0, [-dot(x, residual + b) / 2], [], 1.0
    for i in range(1, most + 1):
        if not running.any():
            break
        image = product(direction)
        curvature = dot(direction, image)
        running = running & (curvature > 0)
        size = square / xp.where(running, curvature, 1)
        go = running[:, None]
        x = xp.where(go, x + size[:, None] * direction, x)
        residual = xp.where(go, residual - size[:, None] * image, residual)
        values.append(-dot(x, residual + b) / 2)
        if i >= kept:
            iterates.append(x)
            kept = i * GROWTH
        k = max(10, i // 10)
        if i > k:
            fallen = values[i - k] - values[i]
            running = running & ~((values[i] < 0) & (fallen < -k * tolerance * values[i]))
        before, square = square, dot(residual, residual)
        running = running & (square > 0)
        direction = residual + (square / xp.where(running, before, 1))[:, None] * direction
    return [*iterates, x]
