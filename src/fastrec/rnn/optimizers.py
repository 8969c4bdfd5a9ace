"""Optimisers: gradient descent with momentum, RMSprop, Adam and AdamW, for one network or k at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..backend import BackendChoice, array_module, move, on_device, resolve
from ..display import span
from ..kernels.interruption import uninterrupted
from ..messages import shown
from ..validation import as_bool, as_int, number
from .config import Array
from .device import ComputeDevice, compute_device
from .losses import name_of
from .schedules import Schedule, read_momentum
from .validation import as_array, contiguous, fits_kernels

WeightDecay = float | Mapping[str, float]
State = dict[str, dict[str, Array]]  # by name of `_slot_names`, then by key of the parameters


class Update(NamedTuple):
    """The checked arguments of a step, as kernels take them."""

    device: ComputeDevice
    parameters: Mapping[str, Array]  # the user's arrays, perhaps on another device
    arrays: dict[str, tuple[Array, ...]]  # parameter, gradient and its slots, each (k, n)
    squares: Array  # (keys, k) float64, squared norm of each gradient
    norms: Array  # (k,) float64, norm of all gradients of a network together
    state: State  # the slots, which the step makes those of the optimiser
    trained: Mapping[str, Array]  # by key (k, n) bool on the device, which numbers change; other keys: all
    damping: Any = None  # (k,) float64, that of `HessianFree` after the step

    def fault(self, network: int) -> str:
        """Describe the gradient because of which the norm of a network is not finite."""
        squares = move(self.squares, "cpu")
        key = list(self.arrays)[squares[:, network].argmax()]  # NaN counts as largest
        return (
            f'the gradient of "{key}"{f" of network {network}" * (self.squares.shape[1] > 1)} is not finite'
        )


class Optimizer:
    """Base class of `SGD`, `RMSprop`, `Adam`, `AdamW` and `HessianFree`."""

    clip_value: float | None = None  # which optimisers pickled by version 0.1.0 do not have
    weight_decay: float | dict[str, float] = 0.0
    _slot_names: ClassVar[tuple[str, ...]]  # arrays kept for each parameter, in the order of the kernel
    _decoupled: ClassVar[bool] = False  # whether weight decay is a part of the rule, not of the gradient
    _searches: ClassVar[bool] = False  # whether `_plan` takes losses and curvature at other parameters
    _unsaid: ClassVar[dict[str, Any]] = {"clip_value": None, "weight_decay": 0.0}  # not in 0.1.0, by default
    _first_rate: NDArray[np.float64]  # tells trainings apart, also after a callback set others

    def __init__(self, learning_rate: ArrayLike, clip: float | None, clip_value: float | None) -> None:
        self._step = 0
        self._state: State = {}  # empty before the first step
        self._sent: tuple[Any, Any] = (None, None)  # the last rates, and what they were made for
        self.learning_rate = learning_rate
        self.clip: float | None = None if clip is None else number("clip", clip, 0)
        self.clip_value: float | None = None if clip_value is None else number("clip_value", clip_value, 0)

    @property
    def learning_rate(self) -> NDArray[np.float64]:
        """Step size, NumPy float64 of shape () or (k,).

        Reading returns a copy. It may be set between steps, to a positive number or to one for each of k
        networks.
        """
        return self._learning_rate.copy()

    @learning_rate.setter
    def learning_rate(self, value: ArrayLike) -> None:
        rate = read_rate(value)
        self._learning_rate, self._first_rate = rate, self._first_rate if self._step else rate

    @property
    def settings(self) -> dict[str, Any]:
        """The name of the rule and its arguments, without those later than 0.1.0 that say nothing."""
        arguments = {
            key: value
            for key, value in vars(self).items()
            if not key.startswith("_") and (key not in self._unsaid or value != self._unsaid[key])
        }
        return {"rule": type(self).__name__, "learning_rate": self.learning_rate.tolist(), **arguments}

    def __getstate__(self) -> dict[str, Any]:
        """Return what is copied and pickled: arrays of the device as NumPy's, which any machine can read."""
        return self.__dict__ | {"_state": moved(self._state, "cpu"), "_sent": (None, None)}

    def __repr__(self) -> str:
        rates = self._learning_rate.tolist()
        text = self._text(self._learning_rate)
        if self._learning_rate.size <= 4:
            return text
        return text.replace(str(rates), f"{span(rates)} of {len(rates)} networks", 1)

    def _text(self, rate: NDArray[np.float64]) -> str:
        """Return the rule and its arguments, with that learning rate, as a call."""
        rule, *arguments = (self.settings | {"learning_rate": rate.tolist()}).items()
        texts = (f"{key}={name_of(value) if callable(value) else repr(value)}" for key, value in arguments)
        return f"{rule[1]}({', '.join(texts)})"

    def step(
        self,
        parameters: Mapping[str, Array],
        gradients: Mapping[str, Array],
        models: int | None = None,
        backend: BackendChoice | None = None,
    ) -> Any:
        """Change parameters in place along the gradients of a number to be minimised.

        Ctrl-C is heard before the step or after it: parameters and state are never half changed.

        Parameters
        ----------
        parameters : mapping of str to array
            C-contiguous, writable arrays, float32 or float64, such as `RNN.parameters`.
        gradients : mapping of str to array
            Arrays with the keys, shapes and dtypes of the parameters. Other keys, such as "state", are
            ignored.
        models : int, optional
            Number k of independent networks, if all arrays have a leading axis for them.
        backend : str, optional
            Where to compute, as for `RNN`. On the gpu the state of the optimiser stays on the device; CuPy
            arrays are used in place, NumPy arrays are sent and the parameters copied back.

        Returns
        -------
        float or ndarray of shape (k,)
            Norm of all gradients of a network together, before clipping, float64. The host waits for it.

        Raises
        ------
        ValueError
            If arrays do not match each other, or those of earlier steps. Nothing is changed.
        FloatingPointError
            If a gradient is not finite; the message names it. Nothing is changed.
        """
        require_arrays("parameters", parameters)
        require_arrays("gradients", gradients)
        self._require_known(parameters)
        arrays = [*parameters.values(), *(gradients.get(key) for key in parameters)]
        at = compute_device(resolve(backend, *arrays, domain="rnn"))
        update = self._prepare(parameters, gradients, models, at)
        norms = move(update.norms, "cpu")
        if not np.isfinite(norms).all():
            fault = update.fault(int(np.isfinite(norms).argmin()))
            raise FloatingPointError(
                f"{fault} at step {self._step + 1}; nothing was changed, use a smaller learning_rate or clip"
            )
        self._apply(update, np.ones(len(norms), np.bool_))
        return float(norms[0]) if models is None else norms

    def state_dict(self) -> dict[str, Array]:
        """Copy all that later steps depend on besides the arguments.

        Returns
        -------
        dict of str to ndarray
            "step", () int64; "learning_rate", () or (k,) float64; after the first step also the arrays that
            belong to each parameter, of its shape and dtype, such as "mean.W_in".
        """
        return self._state_dict(self._state)

    def _state_dict(self, state: State) -> dict[str, Array]:
        slots = {
            f"{slot}.{key}": np.array(move(array, "cpu"))
            for slot, arrays in state.items()
            for key, array in arrays.items()
        }
        return {"step": np.array(self._step), "learning_rate": self.learning_rate, **slots}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Restore what `state_dict` of an optimiser of the same class returned.

        Parameters
        ----------
        state : mapping of str to array
            The arrays by name.

        Raises
        ------
        ValueError
            If names or values do not fit. Nothing is changed.
        """
        if not isinstance(state, Mapping):
            raise ValueError(f"state is {shown(state)}; give what state_dict returned")
        names = sorted({name.partition(".")[2] for name in state} - {""})
        wanted = ["step", "learning_rate", *(f"{slot}.{name}" for slot in self._slot_names for name in names)]
        if odd := sorted(state.keys() ^ set(wanted)):
            raise ValueError(f"state is not that of {type(self).__name__}; check {', '.join(odd)}")
        rate = read_rate(state["learning_rate"])
        step = as_int("step", as_array("step", state["step"]).tolist(), 0, 2**63 - 1)
        slots = {
            slot: {name: np.array(move(state[f"{slot}.{name}"], "cpu"), order="C") for name in names}
            for slot in self._slot_names
            if names
        }
        self._state, self._learning_rate, self._step = slots, rate, step

    def _run(
        self, at: ComputeDevice, arrays: tuple[Array, ...], scale: Array, rate: Array, decay: float
    ) -> None:
        """Call the kernel; arrays as in `Update`, scale and rate (k,) float64; decay: for decoupled ones."""
        raise NotImplementedError

    def _decay(self, key: str) -> float:
        """Return the weight decay of a parameter."""
        decay = self.weight_decay
        return decay.get(key, 0.0) if isinstance(decay, dict) else decay

    def _require_known(self, parameters: Mapping[str, Array]) -> None:
        """Raise ValueError if weight_decay names what is no parameter."""
        named = self.weight_decay if isinstance(self.weight_decay, dict) else {}
        if odd := sorted(named.keys() - parameters.keys()):
            raise ValueError(
                f"weight_decay names {', '.join(odd)}; the parameters are {', '.join(parameters)}"
            )

    def _slots(self, parameters: Mapping[str, Array], models: int | None, backend: str) -> State:
        """Return the state that belongs to parameters, which are checked: zeros before the first step.

        The arrays are where the backend computes, copied there if need be.
        """
        if self.learning_rate.ndim and self.learning_rate.shape != (models,):
            raise ValueError(
                f"learning_rate has {self.learning_rate.size} values, one each for as many networks, "
                f"but models is {models}"
            )
        for key, parameter in parameters.items():
            if parameter.dtype not in (np.float32, np.float64) or not fits_kernels(parameter):
                raise ValueError(
                    f'parameters["{key}"] has dtype {parameter.dtype}; it must be float32 or float64, '
                    "C-contiguous and writable"
                )
            if models is not None and parameter.shape[:1] != (models,):
                raise ValueError(f'parameters["{key}"] is {parameter.shape}; it must be led by k = {models}')
        if not self._state:
            zeros = array_module(backend).zeros
            return {
                slot: {key: zeros(array.shape, array.dtype) for key, array in parameters.items()}
                for slot in self._slot_names
            }
        for slots in self._state.values():
            for key in sorted(slots.keys() | parameters.keys()):
                if not (key in slots and key in parameters and alike(slots[key], parameters[key])):
                    raise ValueError(
                        f'parameters["{key}"] is not as in earlier steps; use a new {type(self).__name__}'
                    )
        array = next((array for slots in self._state.values() for array in slots.values()), None)
        there = on_device(array) == (backend == "gpu")  # as all of them
        return self._state if there else moved(self._state, backend)

    def _prepare(
        self,
        parameters: Mapping[str, Array],
        gradients: Mapping[str, Array],
        models: int | None,
        at: ComputeDevice,
        trained: Mapping[str, Array] | None = None,
    ) -> Update:
        """Check the arguments of `step`, and take the norms.  trained: as in `Update`."""
        trained = trained or {}
        state = self._slots(parameters, models, at.backend)
        k = models or 1
        arrays, squares = {}, at.xp.zeros((len(parameters), k))
        for (key, parameter), square in zip(parameters.items(), squares, strict=True):
            gradient = gradients.get(key)
            if gradient is None or not alike(gradient, parameter):
                form = "missing" if gradient is None else f"{gradient.shape}, {gradient.dtype}"
                raise ValueError(
                    f'gradients["{key}"] is {form}; it must be {parameter.shape}, {parameter.dtype}'
                )
            rows = at.take(contiguous(gradient, parameter.dtype)).reshape(k, -1)
            if key in trained:
                rows = at.xp.where(trained[key], rows, 0)
            at.kernels.squared_norms(rows, square)
            slots = [of_slot[key].reshape(k, -1) for of_slot in state.values()]
            arrays[key] = (at.take(parameter).reshape(k, -1), rows, *slots)
        return Update(at, parameters, arrays, squares, at.xp.sqrt(squares.sum(axis=0)), state, trained)

    def _plan(self, update: Update, active: NDArray[np.bool_], factor: float, objective: Any) -> Update:
        """Do what takes long before `_apply`, and change nothing.

        objective: the loss as a function of the parameters, an `Objective`, or None for rules that do not
        search.
        """
        return update

    def _apply(self, update: Update, active: NDArray[np.bool_], factor: float = 1.0) -> None:
        """Make the step in the active ones of k networks (k,); the gradients of the others become 0.

        factor: of the learning rate.
        """
        at, norms = update.device, update.norms
        if self.clip is None:
            scale = at.xp.ones(len(active))
        else:
            scale = self.clip / at.xp.fmax(norms, self.clip)  # also of a norm that is NaN a number
        base = self._rate(active, at.backend)
        rate = base if factor == 1 else base * factor
        with uninterrupted():
            self._step, self._state = self._step + 1, update.state
            for key, arrays in update.arrays.items():
                if not active.all():
                    arrays[1][base == 0] = 0  # they may hold NaN, which a rate of 0 does not stop
                trained, decay, factors = update.trained.get(key), self._decay(key), scale
                kept = None if trained is None else arrays[0].copy()
                if self.clip_value is not None or (decay and not self._decoupled):
                    parameter, gradient, *slots = arrays
                    limit = np.inf if self.clip_value is None else self.clip_value
                    out, added = at.empty_like(gradient), 0.0 if self._decoupled else decay
                    at.kernels.adjust_gradient(parameter, gradient, scale, limit, added, out)
                    arrays, factors = (parameter, out, *slots), at.xp.ones(len(active))
                self._run(at, arrays, factors, rate, decay)
                if trained is not None:
                    arrays[0][...] = at.xp.where(trained, arrays[0], kept)
                if not at.holds(update.parameters[key]):
                    update.parameters[key][...] = move(arrays[0], "cpu").reshape(update.parameters[key].shape)

    def _rate(self, active: NDArray[np.bool_], backend: str) -> Array:
        """Return learning rates (k,) where a backend computes, 0 for networks that are not active.

        They are sent to the device only if they changed.
        """
        rate = np.where(active, self._learning_rate, 0.0)
        key = (rate.tobytes(), backend)
        if key != self._sent[0]:
            self._sent = (key, move(rate, backend))
        return self._sent[1]


class SGD(Optimizer):
    """Stochastic gradient descent with momentum.

    A step changes a parameter p with gradient g by p -= learning_rate v, where the velocity is
    v = momentum v + g, and 0 at first (Polyak, USSR Comp. Math. 4, 1, 1964), as in PyTorch.

    Parameters
    ----------
    learning_rate : float or array_like of shape (k,)
        Positive step size, or one for each of k networks.
    momentum : float or callable, default 0.0
        From 0 to below 1, or a function of the number of updates made, from 0, that returns it for the next
        one, such as `MomentumSchedule`. Checkpoints know a function by its module and name.
    nesterov : bool, default False
        Step along g + momentum v instead of v (Sutskever et al., ICML 2013).
    clip : float, optional
        Largest norm of the gradient of a network; longer ones are scaled down to it (Pascanu, Mikolov &
        Bengio, ICML 2013).
    clip_value : float, optional
        Largest absolute value of an entry of the gradient, to which others are cut after `clip`.
    weight_decay : float or mapping of str to float, default 0.0
        Added to the gradient g is weight_decay p, after clipping, as in PyTorch: of every parameter, or of
        those whose keys the mapping has; matrices alone are usual, `{"W_in": 1e-4, "W_rec": 1e-4}`.

    Raises
    ------
    ValueError
        If an argument is out of range, or what momentum returns is, or if nesterov is True without momentum.

    Examples
    --------
    >>> parameters = {"w": np.array([1.0, 2.0])}
    >>> optimizer = fastrec.SGD(0.5)
    >>> optimizer.step(parameters, {"w": np.array([0.6, 0.8])})
    1.0
    >>> parameters["w"]
    array([0.7, 1.6])
    """

    _slot_names = ("velocity",)

    def __init__(
        self,
        learning_rate: ArrayLike,
        momentum: float | Schedule = 0.0,
        nesterov: bool = False,
        clip: float | None = None,
        clip_value: float | None = None,
        weight_decay: WeightDecay = 0.0,
    ) -> None:
        super().__init__(learning_rate, clip, clip_value)
        self.weight_decay: float | dict[str, float] = read_decay(weight_decay)
        first = read_momentum(momentum, 0)
        self.momentum: float | Schedule = momentum if callable(momentum) else first
        self.nesterov: bool = as_bool("nesterov", nesterov)
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov is True and momentum 0; give a momentum, or leave it out")

    def _apply(self, update: Update, active: NDArray[np.bool_], factor: float = 1.0) -> None:
        self._momentum = read_momentum(self.momentum, self._step)  # before anything is changed
        super()._apply(update, active, factor)

    def _run(
        self, at: ComputeDevice, arrays: tuple[Array, ...], scale: Array, rate: Array, decay: float
    ) -> None:
        at.kernels.sgd(*arrays, scale, rate, self._momentum, self.nesterov)


class RMSprop(Optimizer):
    """RMSprop (Tieleman & Hinton, Coursera lecture 6.5, 2012), as in PyTorch.

    A step changes a parameter p with gradient g by p -= learning_rate v, where v = momentum v +
    g / (sqrt(s) + epsilon) and s = alpha s + (1 - alpha) g^2, both 0 at first.

    Parameters
    ----------
    learning_rate : float or array_like of shape (k,), default 0.01
        Positive step size, or one for each of k networks.
    alpha : float, default 0.99
        Decay of the running mean of g^2, from 0 to below 1.
    epsilon : float, default 1e-8
        Added to the root of that mean.
    weight_decay : float or mapping of str to float, default 0.0
        As of `SGD`.
    momentum : float, default 0.0
        From 0 to below 1.
    clip : float, optional
        Largest norm of the gradient of a network; longer ones are scaled down to it (Pascanu, Mikolov &
        Bengio, ICML 2013).
    clip_value : float, optional
        Largest absolute value of an entry of the gradient, to which others are cut after `clip`.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> parameters = {"w": np.array([1.0, 2.0])}
    >>> optimizer = fastrec.RMSprop(0.1, alpha=0.75)
    >>> optimizer.step(parameters, {"w": np.array([3.0, -4.0])})
    5.0
    >>> parameters["w"].round(6)
    array([0.8, 2.2])
    """

    _slot_names = ("square", "velocity")

    def __init__(
        self,
        learning_rate: ArrayLike = 0.01,
        alpha: float = 0.99,
        epsilon: float = 1e-8,
        weight_decay: WeightDecay = 0.0,
        momentum: float = 0.0,
        clip: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        super().__init__(learning_rate, clip, clip_value)
        self.alpha: float = number("alpha", alpha, 0, 1, closed=True)
        self.epsilon: float = number("epsilon", epsilon, 0)
        self.weight_decay: float | dict[str, float] = read_decay(weight_decay)
        self.momentum: float = number("momentum", momentum, 0, 1, closed=True)

    def _run(
        self, at: ComputeDevice, arrays: tuple[Array, ...], scale: Array, rate: Array, decay: float
    ) -> None:
        at.kernels.rmsprop(*arrays, scale, rate, self.alpha, self.epsilon, self.momentum)


class Adam(Optimizer):
    """The optimiser Adam (Kingma & Ba, ICLR 2015) with bias correction, or AdamW.

    Parameters
    ----------
    learning_rate : float or array_like of shape (k,), default 1e-3
        Positive step size, or one for each of k networks.
    betas : tuple of float, default (0.9, 0.999)
        Decay of the running means of g and of g^2, each from 0 to below 1.
    epsilon : float, default 1e-8
        Added to the root of the mean of g^2.
    weight_decay : float or mapping of str to float, default 0.0
        Each step also changes parameters by p -= learning_rate weight_decay p, which makes this AdamW
        (Loshchilov & Hutter, ICLR 2019): every one, or those whose keys the mapping has; matrices alone are
        usual, `{"W_in": 0.01, "W_rec": 0.01}`.
    clip : float, optional
        Largest norm of the gradient of a network; longer ones are scaled down to it (Pascanu, Mikolov &
        Bengio, ICML 2013).
    clip_value : float, optional
        Largest absolute value of an entry of the gradient, to which others are cut after `clip`.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> parameters = {"w": np.array([1.0, 2.0])}
    >>> optimizer = fastrec.Adam(0.1)
    >>> optimizer.step(parameters, {"w": np.array([3.0, -4.0])})
    5.0
    >>> parameters["w"].round(6)
    array([0.9, 2.1])
    """

    _slot_names = ("mean", "square")
    _decoupled = True
    _unsaid: ClassVar[dict[str, Any]] = {"clip_value": None}

    def __init__(
        self,
        learning_rate: ArrayLike = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
        weight_decay: WeightDecay = 0.0,
        clip: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        super().__init__(learning_rate, clip, clip_value)
        pair = tuple(betas) if np.iterable(betas) else ()
        if len(pair) != 2:
            raise ValueError(f"betas is {shown(betas)}; give two numbers")
        self.betas: tuple[float, ...] = tuple(
            number(f"betas[{j}]", beta, 0, 1, closed=True) for j, beta in enumerate(pair)
        )
        self.epsilon: float = number("epsilon", epsilon, 0)
        self.weight_decay: float | dict[str, float] = read_decay(weight_decay)

    def _run(
        self, at: ComputeDevice, arrays: tuple[Array, ...], scale: Array, rate: Array, decay: float
    ) -> None:
        at.kernels.adam(*arrays, scale, rate, *self.betas, self.epsilon, decay, self._step)


class AdamW(Adam):
    """The optimiser AdamW (Loshchilov & Hutter, ICLR 2019): `Adam` with weight decay by default.

    Parameters
    ----------
    learning_rate, betas, epsilon
        As of `Adam`.
    weight_decay : float or mapping of str to float, default 0.01
        As of `Adam`.
    clip, clip_value
        As of `Adam`.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> fastrec.AdamW(0.1, weight_decay={"W_rec": 0.1}).weight_decay
    {'W_rec': 0.1}
    """

    def __init__(
        self,
        learning_rate: ArrayLike = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
        weight_decay: WeightDecay = 0.01,
        clip: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        super().__init__(learning_rate, betas, epsilon, weight_decay, clip, clip_value)


def read_rate(value: ArrayLike) -> NDArray[np.float64]:
    """Return a copy of a learning rate, or of k of them; ValueError unless all are positive."""
    rate = move(as_array("learning_rate", value), "cpu")
    if (
        rate.dtype.kind not in "fiu"
        or rate.ndim > 1
        or not (rate.size and np.isfinite(rate).all() and rate.min() > 0)
    ):
        raise ValueError(f"learning_rate is {shown(value)}; it must be a positive number, or k of them")
    return rate.astype(np.float64)


def read_decay(value: WeightDecay) -> float | dict[str, float]:
    """Check an argument `weight_decay`."""
    if isinstance(value, Mapping):
        return {str(key): number(f'weight_decay["{key}"]', one, 0, closed=True) for key, one in value.items()}
    return number("weight_decay", value, 0, closed=True)


def require_arrays(name: str, value: object) -> None:
    """Raise ValueError unless an argument holds arrays by name."""
    if not ((type(value) is dict or isinstance(value, Mapping)) and all(map(is_array, value.values()))):
        raise ValueError(f"{name} is {shown(value)}; it must be a mapping of names to arrays")


def is_array(value: object) -> bool:
    """Return whether a value is an array of NumPy or of the device."""
    return isinstance(value, np.ndarray) or on_device(value)


def moved(state: State, backend: str) -> State:
    """Return the state of an optimiser where a backend computes."""
    return {
        slot: {key: move(array, backend) for key, array in arrays.items()} for slot, arrays in state.items()
    }


def alike(a: Array, b: Array) -> bool:
    """Return whether two arrays agree in shape and dtype."""
    return a.shape == b.shape and a.dtype == b.dtype
