"""Networks that are run a step at a time, or on their own outputs: checks, and the kernel calls."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..backend import backend_of, kernels, move, resolve
from ..validation import as_int, listed, require_memory
from . import passes
from .config import MAX_SIZE, Array, Config, suffix
from .device import ComputeDevice, multiplying
from .randomness import NOTHING
from .validation import (
    Batch,
    Purpose,
    as_array,
    contiguous,
    is_paired,
    make_batch,
    public_state,
    read_floats,
    read_integers,
    read_state,
    require_steps,
    split_state,
    steps_before,
)

NOT_FINITE = "the outputs of the network are not finite; its parameters are too large, or not finite"


def kernel_network(c: Config, weights: dict[str, Array], xp: Any) -> tuple[Any, ...]:
    """The layers and W_out, b_out, activation and feeds_back, as kernels that take whole networks do."""
    names = c.kind.parameters
    layers = tuple(tuple(weights[name + suffix(n)] for name in names) for n in range(c.num_layers))
    shapes = {"W_out": (c.k, c.hidden_size, 0), "b_out": (c.k, 0)}
    outward = [weights[key] if key in weights else xp.empty(shapes[key], c.dtype) for key in shapes]
    return layers, *outward, *(c.activation_code or (0,)), c.kind.feeds_back_output


def bind(
    c: Config, device: ComputeDevice, weights: dict[str, Array], reads_tokens: bool
) -> Callable[..., None]:
    """`take_steps` of the kernels for a network with a copy of these weights, (k, ...)."""
    nbytes = sum(array.nbytes for array in weights.values())
    require_memory("a copy of the parameters", nbytes, backend=device.backend)
    module = multiplying(device.precision, kernels("stepping", device.backend))
    network = module.pack_network(c.cell, *kernel_network(c, weights, device.xp), reads_tokens)
    return partial(module.take_steps, network)


def where_is(state: Any) -> str:
    """A backend where a state is, which may be a tuple of its parts."""
    return backend_of(state[0] if isinstance(state, tuple) else state)


class Stepper:
    """A network that reads one step of b sequences at a time, made by `RNN.stepper`.

    It has a copy of the parameters, those of the moment when it was made; after more training, make another
    one.  Only one thread at a time may use it.

    Examples
    --------
    >>> import numpy as np
    >>> import fastrec
    >>> rnn = fastrec.RNN(3, 8, 2, "gru", seed=0)
    >>> stepper = rnn.stepper()
    >>> first, second = stepper(np.zeros((1, 3))), stepper(np.ones((1, 3)))
    >>> outputs, state = rnn.predict([[[0, 0, 0], [1, 1, 1]]])
    >>> bool(np.allclose(second, outputs[:, 1])), bool(np.allclose(stepper.state, state))
    (True, True)
    """

    def __init__(
        self,
        _config: Config,
        _device: ComputeDevice,
        _weights: dict[str, Array],
        _batch: int,
        _state: ArrayLike | None,
        _tokens: bool,
    ) -> None:
        c, device, xp, b, i = _config, _device, _device.xp, _batch, _config.input_size
        require_steps(c, "a step of it needs those that come later")
        size = c.k * b * (3 * c.num_layers * c.state + c.outputs_width) * c.dtype.itemsize
        require_memory(f"a stepper of {b} sequences", size, backend=device.backend)
        start = None if _state is None else read_state(c, "state", _state, b, device)
        no_steps = xp.empty((1, b, 0, i), c.dtype)
        batch = make_batch(c, device, _weights, no_steps, None, start, Purpose.OUTPUTS, NOTHING, None)
        self._config, self._device, self._b, self._tokens = c, device, b, _tokens
        self._take_steps = bind(c, device, batch.weights, _tokens)
        self._dtype = np.dtype(np.int64) if _tokens else c.dtype
        step = (b,) if _tokens else (b, i)
        self._shapes = {step: False, (*c.lead, *step): bool(c.lead)}  # whether an axis k leads
        self._made, self._public = (c.k, b, 1, c.outputs_width), (*c.lead, b, c.outputs_width)
        self._other = xp.empty((c.k, b, 0), c.dtype) if _tokens else xp.empty((c.k, 0), np.int64)
        self._start, self._fault = batch.start, xp.zeros(1, np.int32)
        self._state, self._spare = self._start.copy(), xp.empty_like(batch.start)
        self._paired, self._caller = is_paired(c, _state), where_is(_state)

    def __call__(self, x: ArrayLike) -> Array:
        """Read a step of every sequence.

        Parameters
        ----------
        x : array_like
            Finite numbers (b, i), or integer tokens (b,) from 0 to i - 1; for k networks also led by k.

        Returns
        -------
        ndarray
            Outputs (b, o), the hidden units if the network has no output layer.

        Raises
        ------
        ValueError
            For x that is invalid; the state is then as it was before the call.
        FloatingPointError
            If outputs are not finite; the state is then as it was before the call.
        """
        step: Any = x
        has_k = None
        if type(x) is np.ndarray and x.dtype == self._dtype and x.flags.carray:
            has_k = self._shapes.get(x.shape)
        if has_k is None or self._device.backend == "gpu":
            step, has_k = self._read(x)
        step = step if has_k else step[None]
        other = self._other[: len(step)]
        inputs = (other, step) if self._tokens else (step, other)
        outputs = self._device.xp.empty(self._made, self._config.dtype)
        self._take_steps(*inputs, self._state, outputs, self._spare, self._fault)
        if self._fault[0]:
            self._refuse(x)
        self._state, self._spare = self._spare, self._state
        made = outputs.reshape(self._public)
        return made if self._device.backend != "gpu" else move(made, self._caller)

    def _read(self, x: ArrayLike) -> tuple[Array, bool]:
        """x as the kernel takes it, and whether an axis k leads."""
        array = as_array("x", x)
        resolve(self._device.backend, array)
        has_k = self._shapes.get(array.shape)
        if has_k is None or array.dtype.kind not in ("iu" if self._tokens else "fiub"):
            kind = "integer tokens" if self._tokens else "numbers"
            shapes = listed([str(shape) for shape in self._shapes])
            raise ValueError(f"x has shape {array.shape} and dtype {array.dtype}; it must be {kind} {shapes}")
        self._caller = backend_of(array)
        return self._device.take(contiguous(array, self._dtype)), has_k

    def _refuse(self, x: ArrayLike) -> None:
        """Raise the error for a step that the kernel could not take."""
        self._fault[0] = 0
        array = as_array("x", x)
        if self._tokens:
            read_integers("x", array, self._config.input_size, None)
        else:
            read_floats("x", array, self._config.dtype, None, self._device)
        raise FloatingPointError(NOT_FINITE)

    @property
    def state(self) -> Any:
        """The state after the steps so far, a copy (layers, b, s) as `Trace.state`.  It can be set.

        For LSTMs it is the tuple (h, c) if that was the form in which a state was given last.
        """
        state = move(public_state(self._config, self._state).copy(), self._caller)
        return split_state(self._config, state) if self._paired else state

    @state.setter
    def state(self, value: Any) -> None:
        if value is None:
            raise ValueError("state is None; give numbers, or call reset() for the first state")
        self._state = read_state(self._config, "state", value, self._b, self._device)
        self._paired, self._caller = is_paired(self._config, value), where_is(value)

    def __getstate__(self) -> dict[str, Any]:
        """What is copied and pickled: a copy goes on by itself."""
        return vars(self) | {"_state": self._state.copy(), "_spare": self._spare.copy()}

    def reset(self) -> None:
        """Go back to the state with which the stepper was made."""
        self._state = self._start.copy()

    def __repr__(self) -> str:
        kind, cell = "tokens" if self._tokens else "numbers", self._config.cell
        return f'Stepper(cell="{cell}", batch={self._b}, reads {kind}, backend="{self._device.backend}")'


def extend(
    c: Config, device: ComputeDevice, read: Callable[[], Batch], steps: int
) -> tuple[Batch, Array, Array]:
    """The checked inputs, outputs (k, b, steps, o) and states (layers, k, b, s); see `RNN.extend`.

    read: checks x, its lengths and the state, and returns them as a batch.
    """
    require_steps(c, "what it computes comes last")
    if c.outputs_width != c.input_size:
        raise ValueError(
            f"the network has {c.outputs_width} outputs and input_size {c.input_size}; to read its outputs "
            "it needs as many as inputs"
        )
    steps = as_int("steps", steps, 1, MAX_SIZE)
    batch = read()
    xp, (_, b, t, i) = device.xp, batch.x.shape
    if not t or (batch.valid is not None and int(batch.lengths.min()) < 1):
        fault = f"x has shape {batch.x.shape[1:]}" if not t else "lengths holds 0"
        raise ValueError(f"{fault}; each row needs at least one step to go on from")
    size = c.k * b * steps * i * c.dtype.itemsize
    require_memory(f"a forecast of {steps} steps", size, backend=device.backend)
    # The last step of each row is the first that the kernel takes.
    lengths = batch.lengths - 1
    x = contiguous(batch.x[:, xp.arange(b), lengths], c.dtype)
    before = passes.forward(c, batch._replace(lengths=lengths, valid=steps_before(lengths, t)))
    outputs, last = device.empty((c.k, b, steps, i), c.dtype), xp.empty_like(batch.start)
    no_tokens, fault = xp.empty((1, 0), np.int64), xp.zeros(1, np.int32)
    take_steps = bind(c, device, batch.weights, False)
    take_steps(x, no_tokens, passes.state_after(before, t), outputs, last, fault)
    if fault[0]:
        raise FloatingPointError(NOT_FINITE)
    return batch, outputs, last
