"""Echo state networks: run, fitted in one pass, and let run on their own outputs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, NamedTuple, cast, get_args

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ..archives import open_archive, read_arrays, read_text, sizes_of, write_archive
from ..backend import Backend, BackendChoice, backend_of, kernels, move, resolve
from ..files import require_suffix
from ..messages import shown
from ..rnn.config import MAX_SIZE, Array
from ..rnn.device import ComputeDevice, compute_device
from ..rnn.initialization import read_seeds
from ..rnn.validation import (
    as_array,
    as_numbers,
    contiguous,
    read_floats,
    read_integers,
    read_lengths,
    steps_before,
    with_k,
)
from ..streams import Seed
from ..validation import as_choice, as_int, listed, move_checked, number, require_memory
from .config import CODES, Activation, ReservoirConfig, Topology
from .initialization import as_matrix, draw, read_each
from .memory_capacity import MemoryCapacity, linear_capacity, measured_capacity
from .readout import choose_ridge, read_ridges, solve

TEXT = "fastrec_reservoir"  # the array that holds the text of a file
STATES = 2**26  # bytes of states at a time, where a sequence has one label
WASHOUT = 100
MOST_SCALE = 1e30  # of weights, which float32 can hold


class Sequences(NamedTuple):
    """Checked sequences, where the backend computes."""

    x: Array  # (m, b, t, i)
    lengths: Array  # (b,) int64
    valid: Array | None  # (b, t) bool, None where all steps are
    start: Array  # (k, b, s)
    single: bool  # x was one sequence (t, i)
    caller: str  # a backend where x was


class EchoState:
    """An echo state network, or k independent ones of the same shape.

    The units of the reservoir follow h_t = (1 - leak) h_{t-1} + leak f(x_t W_in + h_{t-1} W_rec +
    y_{t-1} W_fb + b) with weights that are drawn once and never learnt; the outputs are y_t = [1, x_t, h_t]
    readout, where `fit` finds the readout by ridge regression in one pass over the data (Jaeger, GMD report
    148, 2001; Lukosevicius, LNCS 7700, 659, 2012).  It never stores the states: the products that the
    regression needs are summed in float64 while the reservoir runs.

    Sequences are numbers (t, i), or b of them (b, t, i), of which `lengths` tells the steps that count; for
    k networks also (k, b, t, i).  Results have the same leading axes, and k in front of them.  On the gpu,
    CuPy arrays give CuPy arrays.

    Parameters
    ----------
    input_size, hidden_size, output_size : int
        Numbers of inputs i, of units h and of outputs o.
    topology : {"sparse", "dense", "cycle"}
        "sparse": each unit reads the units at the same random distances from it, by normal weights.
        "dense": it reads all, by normal weights; in float32 these, W_in and W_fb are rounded to 8
        significant bits, which halves the memory that a step reads.  "cycle": it reads the one before it, by
        one weight for all, and the inputs by weights of one size and random signs (Rodan & Tino, IEEE
        Trans. Neural Networks 22, 131, 2011).
    density : float, optional
        Share of the units that each one reads if topology is "sparse", by default 0.1.
    spectral_radius : float
        Largest absolute eigenvalue of the recurrent weights.
    leak : float or array_like of shape (h,)
        How far a step takes a unit, above 0 and at most 1.
    activation : {"tanh", "relu", "logistic", "linear"}
        The function f.
    input_scaling : float or array_like of shape (i,)
        W_in is uniform within +-input_scaling.
    bias_scaling, feedback_scaling : float
        The same for b and for W_fb; without feedback, 0, outputs are not fed back.
    models : int, optional
        Number k of independent networks computed in one call.
    dtype : dtype
        np.float32 or np.float64, of all arrays.
    seed : int, numpy.random.Generator, None or sequence of int
        As in `RNN`: None is a fresh seed, and network j of k is identical to the one with seed + j.
    backend : {"cpu", "gpu", "reference", "auto"}, optional
        Where to compute; None follows `fastrec.get_backend` at every call.

    Attributes
    ----------
    readout : ndarray of shape (1 + i + h, o) or None
        What `fit` has found.
    state : ndarray or None
        The state at the end of the sequences of the last `fit`, to go on from.

    Raises
    ------
    ValueError
        For arguments that are invalid or exclude each other, or if memory does not suffice.

    Examples
    --------
    >>> u = fastrec.mackey_glass(3001)[:, None]
    >>> esn = fastrec.EchoState(1, 200, leak=0.5, bias_scaling=0.5, seed=0).fit(u[:2000], u[1:2001])
    >>> outputs, state = esn.predict(u[2000:3000], esn.state)
    >>> bool(np.sqrt(np.mean((outputs - u[2001:]) ** 2)) < 0.01 * u.std())
    True
    """

    readout: Array | None
    state: Array | None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int = 1,
        *,
        topology: Topology = "sparse",
        density: float | None = None,
        spectral_radius: float = 0.9,
        leak: ArrayLike = 1.0,
        activation: Activation = "tanh",
        input_scaling: ArrayLike = 1.0,
        bias_scaling: float = 0.0,
        feedback_scaling: float = 0.0,
        models: int | None = None,
        dtype: DTypeLike = np.float32,
        seed: Seed | Sequence[int] = None,
        backend: BackendChoice | None = None,
    ) -> None:
        h = as_int("hidden_size", hidden_size, 1, MAX_SIZE)
        topology = cast(Topology, as_choice("topology", topology, get_args(Topology)))
        if density is not None and topology != "sparse":
            raise ValueError(f'density is {shown(density)}; only topology="sparse" has one, leave it out')
        share = number("density", 0.1 if density is None else density, 0)
        if share > 1:
            raise ValueError(f"density is {shown(density)}; it must be at most 1")
        connections = {"sparse": max(1, round(share * h)), "cycle": 1}.get(topology, 0)
        fed_back = number("feedback_scaling", feedback_scaling, 0, MOST_SCALE, closed=True)
        c = ReservoirConfig(
            *(input_size, h, output_size, topology, connections, activation, fed_back > 0, models),
            dtype,  # type: ignore[arg-type]
        )
        scales = (
            number("spectral_radius", spectral_radius, 0, MOST_SCALE, closed=True),
            read_each("leak", leak, h, 0, 1),
            read_each("input_scaling", input_scaling, c.input_size, -1e-300, MOST_SCALE),
            number("bias_scaling", bias_scaling, 0, MOST_SCALE, closed=True),
        )
        resolve(backend, domain="reservoir")
        used = read_seeds(c.models, seed)
        self._set(c, draw(c, used, *scales, fed_back), used, backend)

    def _set(
        self,
        config: ReservoirConfig,
        weights: dict[str, Array],
        seed: int | tuple[int, ...],
        backend: str | None,
    ) -> None:
        for array in weights.values():
            array.flags.writeable = False
        self._config, self._weights, self._seed, self._backend = config, weights, seed, backend
        self._packed: dict[str, Any] = {}
        self.readout = self.state = None

    def __getstate__(self) -> dict[str, Any]:
        """What is copied and pickled: arrays as those of NumPy, which any machine can read."""
        found = {name: getattr(self, name) for name in ("readout", "state")}
        kept = {name: getattr(self, name) for name in ("_config", "_weights", "_seed", "_backend")}
        return kept | {name: None if a is None else move(a, "cpu") for name, a in found.items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._set(*(state[name] for name in ("_config", "_weights", "_seed", "_backend")))
        self.readout, self.state = state["readout"], state["state"]

    @property
    def input_size(self) -> int:
        """Number of inputs i."""
        return self._config.input_size

    @property
    def hidden_size(self) -> int:
        """Number of units h."""
        return self._config.hidden_size

    @property
    def output_size(self) -> int:
        """Number of outputs o."""
        return self._config.output_size

    @property
    def models(self) -> int | None:
        """Number k of networks, None for one without that axis."""
        return self._config.models

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of all arrays, float32 or float64."""
        return self._config.dtype

    @property
    def seed(self) -> int | tuple[int, ...]:
        """The seed of the weights, k of them if k were given."""
        return self._seed

    @property
    def backend(self) -> Backend:
        """Name of the backend that the next call runs on."""
        return resolve(self._backend, domain="reservoir")

    @property
    def parameters(self) -> dict[str, Array]:
        """The fixed weights, read-only arrays of NumPy.

        "W_in" (i, h), "W_rec" (h, h), where row l holds the weights by which unit l is read, "b" and "leak"
        (h,), with feedback "W_fb" (o, h); for k networks with a leading axis k.
        """
        w = self._weights
        W_rec = np.stack([as_matrix(*own) for own in zip(w["W_rec"], w["offsets"], strict=True)])
        W_rec.flags.writeable = False
        made = {"W_in": w["W_in"], "W_rec": W_rec, "b": w["b"], "leak": w["leak"]}
        made |= {"W_fb": w["W_fb"]} if self._config.feedback else {}
        return {key: self._public(array) for key, array in made.items()}

    def __repr__(self) -> str:
        c = self._config
        parts = [f'{c.input_size}, {c.hidden_size}, {c.output_size}, topology="{c.topology}"']
        parts += [f'activation="{c.activation}"'] * (c.activation != "tanh")
        parts += ["feedback"] * c.feedback + [f"models={c.models}"] * (c.models is not None)
        parts += [f"dtype={c.dtype}"] * (c.dtype != np.float32)
        parts += [f'backend="{self.backend}"', "fitted" if self._is_fitted() else "not fitted"]
        return f"EchoState({', '.join(parts)})"

    def fit(
        self,
        x: ArrayLike,
        targets: ArrayLike,
        *,
        ridge: float | Sequence[float] = 1e-6,
        washout: int | None = None,
        lengths: ArrayLike | None = None,
        state: ArrayLike | None = None,
        validation: tuple[ArrayLike, ...] | None = None,
    ) -> EchoState:
        """Find the readout by ridge regression on all steps after the washout.

        It minimises the sum of squares of the errors plus ridge times that of the readout, of which the
        constant is not counted.  With feedback the targets are fed back (teacher forcing).  Labels, one for
        each sequence, are learnt from the means of inputs and units over its steps, see `classify`.

        Parameters
        ----------
        x : array_like
            Finite numbers (t, i) or (b, t, i); for k networks also (k, b, t, i).
        targets : array_like
            Numbers with o in place of i; or integer labels (b,) from 0 to o - 1.
        ridge : float or sequence of float
            From 0.  Of several, each network takes the one with the least error on the validation data.
        washout : int, optional
            Steps at the begin of each sequence that do not count; the default is 100, and 0 for labels.
        lengths : array_like of int, optional
            (b,), from 0 to t, the steps of each sequence.
        state : array_like, optional
            (b, s), or (s,) for one sequence, before the first step; the default is 0.  s is h, with
            feedback h + o: the units, then the last outputs.
        validation : tuple, optional
            (x, targets) or (x, targets, lengths) to choose among ridges by, from state 0.

        Returns
        -------
        EchoState
            The network itself.

        Raises
        ------
        ValueError
            For invalid arguments, or if no step counts, or if ridge is too small to solve the equations.
        FloatingPointError
            If the states, the targets or the readout grow beyond what numbers can hold.

        Examples
        --------
        >>> u, y = fastrec.narma(2000, seed=0)
        >>> esn = fastrec.EchoState(1, 100, input_scaling=0.5, bias_scaling=0.5, seed=0)
        >>> esn.fit(u[:, None], y[:, None], ridge=1e-6).readout.shape
        (102, 1)
        """
        c = self._config
        ridges = read_ridges(ridge, validation is not None)
        if validation is not None and not (isinstance(validation, tuple) and len(validation) in (2, 3)):
            raise ValueError(f"validation is {shown(validation)}; give (x, targets) or (x, targets, lengths)")
        products, last, single = self._products(x, targets, washout, lengths, state)
        chosen = np.zeros(c.k, np.int64)
        if validation is not None:
            other, goal, ends = (*validation, None)[:3]
            others, *_ = self._products(other, goal, washout, ends, None, "validation: ")  # type: ignore[arg-type]
            chosen = choose_ridge(products, others, c.output_size, ridges)
        readouts = [solve(own, c.output_size, ridges[j]) for own, j in zip(products, chosen, strict=True)]
        with np.errstate(over="ignore"):
            found = np.stack(readouts).astype(c.dtype)
        if not np.isfinite(found).all():
            raise FloatingPointError(
                f"the readout is not finite in {c.dtype}; scale the targets or give more ridge"
            )
        self.readout = self._public(found)
        self.state = self._public(last[:, 0] if single else last)
        return self

    def predict(
        self, x: ArrayLike, state: ArrayLike | None = None, lengths: ArrayLike | None = None
    ) -> tuple[Array, Array]:
        """Compute the outputs for sequences; with feedback they are fed back.

        Parameters
        ----------
        x, state, lengths : array_like
            As for `fit`.

        Returns
        -------
        outputs : ndarray
            (t, o), (b, t, o) or (k, b, t, o), as x is; 0 after the end of a sequence.
        state : ndarray
            (b, s), or (s,) of one sequence: the state of the steps that follow.

        Raises
        ------
        ValueError
            For invalid arguments, or before `fit`.
        FloatingPointError
            If outputs are not finite.

        Examples
        --------
        >>> x = np.ones((200, 2))
        >>> esn = fastrec.EchoState(2, 50, seed=0).fit(x, x[:, :1])
        >>> outputs, state = esn.predict(x)
        >>> outputs.shape, state.shape
        ((200, 1), (50,))
        """
        self._require_fitted()
        device = self._device(x, state, lengths)
        given = self._read(x, state, lengths, device)
        return self._answer(given, given.x, given.lengths, given.x.shape[2], device)

    def extend(self, x: ArrayLike, steps: int, state: ArrayLike | None = None) -> tuple[Array, Array]:
        """Read sequences, then go on by reading the outputs: a forecast, all in one kernel call.

        Parameters
        ----------
        x : array_like
            As for `predict`, of at least one step; there must be as many outputs as inputs.
        steps : int
            Number of outputs to compute for each sequence.
        state : array_like, optional
            Before x, as for `fit`.

        Returns
        -------
        outputs : ndarray
            (steps, o), (b, steps, o) or (k, b, steps, o); the first is that of the last step of x.
        state : ndarray
            Before the last of the outputs is read: with ``outputs[-1:]`` as x a second call goes on.

        Raises
        ------
        ValueError
            For invalid arguments, or before `fit`.
        FloatingPointError
            If outputs are not finite.

        Examples
        --------
        >>> u = fastrec.mackey_glass(1500)[:, None]
        >>> esn = fastrec.EchoState(1, 200, leak=0.5, bias_scaling=0.5, seed=0).fit(u[:1400], u[1:1401])
        >>> forecast, state = esn.extend(u[1400:1401], 20, esn.state)
        >>> bool(abs(forecast - u[1401:1421]).max() < 0.05)
        True
        """
        self._require_fitted()
        c = self._config
        if c.input_size != c.output_size:
            raise ValueError(
                f"the network has {c.output_size} outputs and input_size {c.input_size}; to read its outputs "
                "it needs as many as inputs"
            )
        steps, device = as_int("steps", steps, 1, MAX_SIZE), self._device(x, state)
        given = self._read(x, state, None, device)
        if not given.x.shape[2]:
            raise ValueError(f"x has shape {np.shape(x)}; give at least one step to go on from")
        n = given.x.shape[2] + steps - 1
        lengths = device.xp.full(len(given.lengths), n, dtype=np.int64)
        return self._answer(given, given.x, lengths, n, device, steps)

    def states(
        self,
        x: ArrayLike,
        state: ArrayLike | None = None,
        lengths: ArrayLike | None = None,
        targets: ArrayLike | None = None,
    ) -> tuple[Array, Array]:
        """Compute the units at all steps of sequences.

        Parameters
        ----------
        x, state, lengths : array_like
            As for `fit`.
        targets : array_like, optional
            Outputs to feed back, as for `fit`; a network with feedback needs them.

        Returns
        -------
        states : ndarray
            (t, h), (b, t, h) or (k, b, t, h); 0 after the end of a sequence.
        state : ndarray
            As of `predict`: after known outputs, the one to forecast from.

        Raises
        ------
        ValueError
            For invalid arguments.
        FloatingPointError
            If states are not finite.

        Examples
        --------
        >>> states, state = fastrec.EchoState(2, 50, seed=0).states(np.ones((4, 30, 2)))
        >>> states.shape, state.shape
        ((4, 30, 50), (4, 50))
        """
        c, device = self._config, self._device(x, state, lengths, targets)
        given = self._read(x, state, lengths, device)
        if (targets is None) == c.feedback:
            fault = "give the outputs to feed back" if c.feedback else "without feedback leave them out"
            raise ValueError(f"targets is {'None' if targets is None else 'given'}; {fault}")
        fed = (
            self._no_targets(device)
            if targets is None
            else self._read_targets(targets, given, device, c.output_size)
        )
        _, b, t, _ = given.x.shape
        require_memory("the states", c.k * b * t * c.hidden_size * c.dtype.itemsize, backend=device.backend)
        states, last = self._run(given, fed, slice(None), device)
        if not device.all_finite(states):
            raise FloatingPointError("the states are not finite; give a smaller spectral_radius or inputs")
        return self._to_caller(states, given), self._to_caller(last, given)

    def classify(
        self, x: ArrayLike, lengths: ArrayLike | None = None, *, washout: int = 0
    ) -> tuple[Array, Array]:
        """Find the label of each sequence, after a `fit` to labels.

        Parameters
        ----------
        x : array_like
            (b, t, i); for k networks also (k, b, t, i).
        lengths : array_like of int, optional
            As for `fit`.
        washout : int
            That of `fit`; sequences must be longer.

        Returns
        -------
        labels : ndarray of shape (b,)
            int64, the output that is largest; for k networks (k, b).
        scores : ndarray of shape (b, o)
            The outputs, means over the steps after the washout.

        Raises
        ------
        ValueError
            For invalid arguments, or before `fit`.
        FloatingPointError
            If outputs are not finite.

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> x, labels = rng.uniform(-1, 1, (40, 9, 1)), np.arange(40) % 2
        >>> x[labels == 1] += 0.5
        >>> esn = fastrec.EchoState(1, 30, 2, seed=0).fit(x, labels, ridge=0.01)
        >>> bool((esn.classify(x)[0] == labels).mean() > 0.8)
        True
        """
        self._require_fitted()
        device = self._device(x, lengths)
        given = self._read(x, None, lengths, device)
        if given.single:
            raise ValueError(f"x has shape {np.shape(x)}; give sequences (b, t, i)")
        counts = self._counts(given, as_int("washout", washout, 0, MAX_SIZE))
        outputs, _ = self._answer(given, given.x, given.lengths, given.x.shape[2], device)
        counts = move(counts, backend_of(outputs))
        scores = outputs[..., washout:, :].sum(axis=-2) / counts[:, None]
        return scores.argmax(axis=-1), scores.astype(self.dtype)

    def memory_capacity(
        self,
        max_delay: int | None = None,
        *,
        steps: int = 10_000,
        washout: int = WASHOUT,
        seed: Seed = 0,
    ) -> MemoryCapacity:
        """Measure how well the units remember independent random inputs (Jaeger, GMD report 152, 2001).

        The capacity of a delay d is the share of the variance of the input d steps ago that a linear readout
        of the units explains.  For linear units it follows exactly from the stationary covariance.  For
        others the network reads uniform inputs from -1 to 1.  Over T steps that share R^2 is r / (T - 1) on
        average even where nothing is remembered, for r units that are independent (numerical rank), and is
        corrected for it: 1 - (1 - R^2) (T - 1) / (T - 1 - r).

        Parameters
        ----------
        max_delay : int, optional
            Delays 1..max_delay are measured; the default is twice the number of units.
        steps : int
            Number of inputs, of units that are not linear.
        washout : int
            First inputs that do not count, at least max_delay of them.
        seed : int, numpy.random.Generator or None
            Of the inputs.

        Returns
        -------
        MemoryCapacity
            Of all delays.

        Raises
        ------
        ValueError
            For invalid arguments, for a network with several inputs or feedback, or for a linear one that has
            no stationary state.

        Examples
        --------
        A linear cycle of n units and radius r remembers n - 1 + r^(2n) inputs:

        >>> esn = fastrec.EchoState(1, 20, topology="cycle", activation="linear", spectral_radius=0.9, seed=0)
        >>> round(esn.memory_capacity(200).total, 4), round(19 + 0.9**40, 4)
        (19.0148, 19.0148)
        """
        c = self._config
        if c.input_size > 1 or c.feedback:
            has = "feedback" if c.feedback else f"{c.input_size} inputs"
            raise ValueError(f"the network has {has}; memory capacity is that of one input without feedback")
        most = 2 * c.hidden_size if max_delay is None else as_int("max_delay", max_delay, 1, MAX_SIZE)
        require_memory("the capacities", 8 * most * (1 + 2 * c.k))
        delays = np.arange(1, most + 1)
        if c.activation == "linear":
            found = [linear_capacity(*own, most) for own in zip(*self._linear_system(), strict=True)]
            capacities = self._public(np.stack(found))
            return MemoryCapacity(delays, capacities, capacities, 0.0)
        corrected, raw, bias = measured_capacity(
            lambda x, past, skipped: self._products(x, past, skipped, outputs=most)[0],
            (c.features, most, steps, washout, seed),
        )
        of_all: Any = bias if c.models else float(bias[0])
        return MemoryCapacity(delays, self._public(corrected), self._public(raw), of_all)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a NumPy .npz file with sizes, weights, seed and the readout, replacing path in one step.

        Parameters
        ----------
        path : path-like
            Name of the file, ending in .npz.

        Raises
        ------
        ValueError
            Unless path ends in .npz.
        OSError
            If the file cannot be written.

        Examples
        --------
        >>> fastrec.EchoState(1, 30, seed=0).save("reservoir.npz")
        """
        require_suffix(path, ".npz")
        c, arrays = self._config, dict(self._weights)
        if (readout := self._read_readout()) is not None:
            arrays["readout"] = move(readout, "cpu")
        text = {field.name: getattr(c, field.name) for field in fields(c)} | {"dtype": c.dtype.name}
        write_archive(path, {TEXT: {"sizes": text, "seed": self._seed}}, arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str], backend: BackendChoice | None = None) -> EchoState:
        """Read what `save` wrote.  Nothing in the file is executed.

        Parameters
        ----------
        path : path-like
            Name of the file.
        backend : str, optional
            As for `EchoState`; files do not hold it.

        Returns
        -------
        EchoState
            An equal network.

        Raises
        ------
        ValueError
            For a file that is foreign, truncated or damaged, naming it and what is wrong.

        Examples
        --------
        >>> fastrec.EchoState(1, 30, seed=0).save("reservoir.npz")
        >>> fastrec.EchoState.load("reservoir.npz").hidden_size
        30
        """
        resolve(backend, domain="reservoir")
        with open_archive(path, "reservoir") as archive:
            text = read_text(archive, TEXT, "reservoir file", STATES)
            c = sizes_of(ReservoirConfig, text["sizes"])
            seed = read_seeds(c.models, text["seed"])
            fitted = {"readout": (c.k, c.features, c.output_size)} if "readout" in archive.members else {}
            offsets: dict[str, tuple[int, ...]] = {"offsets": (c.k, c.connections)}
            if archive.members.keys() != {TEXT, *c.shapes, *fitted, *offsets}:
                raise ValueError(f"damaged, its arrays should be {TEXT}, offsets, {', '.join(c.shapes)}")
            weights = read_arrays(archive, c.shapes | fitted, c.dtype)
            weights |= read_arrays(archive, offsets, np.dtype(np.int64))
            readout, places = weights.pop("readout", None), weights["offsets"]
            if places.size and not (places.min() >= 0 and places.max() < c.hidden_size):
                raise ValueError("damaged, its offsets are not those of units")
        network = cls.__new__(cls)
        network._set(c, weights, seed, backend)
        network.readout = None if readout is None else network._public(readout)
        return network

    def _is_fitted(self) -> bool:
        return self.readout is not None

    def _require_fitted(self) -> None:
        if not self._is_fitted():
            raise ValueError("the network has no readout yet; call fit first")

    def _read_readout(self) -> Array | None:
        """The readout (k, 1 + i + h, o), which users may have replaced."""
        c = self._config
        if self.readout is None:
            return None
        shape = (*((c.k,) if c.models else ()), c.features, c.output_size)
        return with_k(as_numbers("readout", self.readout, shape), c.models is not None)

    def _device(self, *arrays: object) -> ComputeDevice:
        """Where the next call computes, given those arrays."""
        return compute_device(resolve(self._backend, *arrays, domain="reservoir"))

    def _public(self, array: Array) -> Array:
        """An array (k, ...) as the user reads it: without the axis k of a single network."""
        return array if self._config.models else array[0]

    def _to_caller(self, array: Array, given: Sequences) -> Array:
        """A result (k, b, ...) with the axes of x, where x was."""
        made = self._public(array[:, 0] if given.single else array)
        return move_checked("the result", made, given.caller)

    def _kernels(self, device: ComputeDevice) -> tuple[Any, Any]:
        """The module of the kernels, and the weights as they read them, which are packed once."""
        module = kernels("reservoir", device.backend)
        if device.backend not in self._packed:
            w = self._weights
            names = ("W_in", "W_fb", "b", "W_rec", "offsets", "leak")
            arrays = (move(w[name].copy(), device.backend) for name in names)
            self._packed[device.backend] = module.pack_reservoir(*arrays, CODES[self._config.activation])
        return module, self._packed[device.backend]

    def _read(
        self, x: ArrayLike, state: Any, lengths: ArrayLike | None, device: ComputeDevice, where: str = ""
    ) -> Sequences:
        """Check sequences, their lengths and the state before them."""
        c, name = self._config, f"{where}x"
        array = as_array(name, x)
        has_k = c.models is not None and array.ndim == 4 and len(array) == c.k
        fine = array.dtype.kind in "fiub" and (array.ndim in (2, 3) or has_k)
        if not fine or array.shape[-1] != c.input_size or 0 in array.shape[:-2]:
            i = c.input_size
            shapes = [f"(t, {i})", f"(b, t, {i})"] + [f"({c.models}, b, t, {i})"] * (c.models is not None)
            raise ValueError(
                f"{name} has shape {array.shape} and dtype {array.dtype}; it must be numbers {listed(shapes)}"
            )
        single = array.ndim == 2
        array = array.reshape(1, 1, *array.shape) if single else with_k(array, has_k)
        _, b, t, _ = array.shape
        ends = None if lengths is None else read_lengths(lengths, b, t, f"{where}lengths")
        valid = None if ends is None else steps_before(ends, t)
        array = device.take(read_floats(name, array, c.dtype, valid, device))
        counts = device.xp.full(b, t, dtype=np.int64) if ends is None else device.take(ends)
        start = device.xp.zeros((c.k, b, c.state), dtype=c.dtype)
        if state is not None:
            shape = (*((c.k,) if c.models else ()), *(() if single else (b,)), c.state)
            values = read_floats("state", as_numbers("state", state, shape), c.dtype, None, device)
            start[...] = device.take(values).reshape(c.k, b, c.state)
        return Sequences(array, counts, valid, start, single, backend_of(x))

    def _no_targets(self, device: ComputeDevice) -> Array:
        c = self._config
        return device.xp.empty((1, 0, 0, c.output_size), dtype=c.dtype)

    def _read_targets(
        self, targets: ArrayLike, given: Sequences, device: ComputeDevice, o: int, where: str = ""
    ) -> Array:
        """Check targets (m, b, t, o) of sequences."""
        c, (_, b, t, _), name = self._config, given.x.shape, f"{where}targets"
        array = as_array(name, targets)
        has_k = c.models is not None and array.shape[:1] == (c.k,) and array.ndim == 4
        shape = (t, o) if given.single else (*(c.k,) * has_k, b, t, o)
        array = as_numbers(name, array, shape)
        array = array[None, None] if given.single else with_k(array, has_k)
        return device.take(contiguous(read_floats(name, array, c.dtype, given.valid, device), c.dtype))

    def _counts(self, given: Sequences, washout: int) -> Array:
        """Steps of each sequence after the washout; ValueError if there are none."""
        counts = move(given.lengths, "cpu") - washout
        if counts.size and counts.min() < 1:
            shortest = int(counts.min()) + washout
            raise ValueError(
                f"washout is {washout}, and a sequence has {shortest} steps; each needs one that counts"
            )
        return counts

    def _products(
        self,
        x: ArrayLike,
        targets: ArrayLike,
        washout: int | None,
        lengths: ArrayLike | None = None,
        state: Any = None,
        where: str = "",
        outputs: int | None = None,
    ) -> tuple[NDArray[np.float64], Array, bool]:
        """The sums of products (k, f, f) of [1, x, h, target], on the host, and the last state.

        Also whether x is a single sequence.  outputs: how many targets there are, o by default.
        """
        c, device = self._config, self._device(x, targets, lengths, state)
        given = self._read(x, state, lengths, device, where)
        array, xp, b = as_array(f"{where}targets", targets), device.xp, given.x.shape[1]
        o = c.output_size if outputs is None else outputs
        width, labelled = c.features + o, array.dtype.kind in "iu" and array.shape == (b,)
        labelled = labelled and not given.single
        skipped = WASHOUT * (not labelled) if washout is None else as_int("washout", washout, 0, MAX_SIZE)
        require_memory("the sums of products", 3 * c.k * width * width * 8, backend=device.backend)
        if labelled:
            labels = read_integers(f"{where}targets", array[None], c.output_size, None)[0]
            counts = self._counts(given, skipped)
            means, last = self._means(given, counts, skipped, device)
            shown = np.broadcast_to(np.eye(c.output_size)[move(labels, "cpu")], (c.k, b, c.output_size))
            v = np.concatenate([means, shown], axis=2)
            products = v.swapaxes(1, 2) @ v
        else:
            goal = self._read_targets(targets, given, device, o, where)
            if not (given.lengths > skipped).any():
                raise ValueError(
                    f"washout is {skipped}, which leaves no step of x, shape {np.shape(x)}; give less"
                )
            sums, last = xp.empty((c.k, width, width), np.float64), xp.empty_like(given.start)
            module, reservoir = self._kernels(device)
            begin = xp.full(b, skipped, dtype=np.int64)
            module.reservoir_products(reservoir, given.x, goal, given.lengths, begin, given.start, sums, last)
            products = move(sums, "cpu")
        if not np.isfinite(products).all():
            raise FloatingPointError("the states are not finite; give a smaller spectral_radius or inputs")
        return products, move_checked("the state", last, given.caller), given.single

    def _means(
        self, given: Sequences, counts: Array, washout: int, device: ComputeDevice
    ) -> tuple[NDArray[np.float64], Array]:
        """Means of [1, x, h] (k, b, f) over the steps of each sequence that count, and the last state."""
        c, xp, (_, b, t, _) = self._config, device.xp, given.x.shape
        if c.feedback:
            raise ValueError(
                "targets has labels, and the network feeds its outputs back; give it no feedback"
            )
        means, last = np.ones((c.k, b, c.features)), xp.empty_like(given.start)
        at_once = max(1, STATES // (c.k * t * c.hidden_size * c.dtype.itemsize))
        for first in range(0, b, at_once):
            rows = slice(first, first + at_once)
            states, last[:, rows] = self._run(given, self._no_targets(device), rows, device)
            on = steps_before(given.lengths[rows], t)[..., None] & (xp.arange(t) >= washout)[:, None]
            read = xp.where(on, given.x[:, rows], 0)
            for part, values in ((slice(1, 1 + c.input_size), read), (slice(1 + c.input_size, None), states)):
                total = move(xp.where(on, values, 0).sum(axis=2, dtype=np.float64), "cpu")
                means[:, rows, part] = total / counts[rows, None]
        return means, last

    def _run(self, given: Sequences, fed: Array, rows: slice, device: ComputeDevice) -> tuple[Array, Array]:
        """The states (k, b, t, h) of some sequences, and the last of them."""
        c, (module, reservoir) = self._config, self._kernels(device)
        x, start = (contiguous(array[:, rows], c.dtype) for array in (given.x, given.start))
        states = device.empty((c.k, x.shape[1], x.shape[2], c.hidden_size), c.dtype)
        last = device.xp.empty_like(start)
        module.reservoir_states(reservoir, x, fed, given.lengths[rows], start, states, last)
        return states, last

    def _answer(
        self,
        given: Sequences,
        x: Array,
        lengths: Array,
        n: int,
        device: ComputeDevice,
        wanted: int | None = None,
    ) -> tuple[Array, Array]:
        """The last outputs of n steps, all if `wanted` is None, and the state, for the caller."""
        c, (module, reservoir) = self._config, self._kernels(device)
        found: Any = self._read_readout()
        readout = device.take(read_floats("readout", found, c.dtype, None, device))
        b = x.shape[1]
        require_memory("the outputs", c.k * b * n * c.output_size * c.dtype.itemsize, backend=device.backend)
        outputs, last = device.empty((c.k, b, n, c.output_size), c.dtype), device.xp.empty_like(given.start)
        module.reservoir_outputs(reservoir, x, lengths, given.start, readout, outputs, last)
        if not device.all_finite(outputs):
            raise FloatingPointError(
                "the outputs are not finite; they grow as they are fed back, or x is too large"
            )
        made = outputs if wanted is None else outputs[:, :, n - wanted :]
        return self._to_caller(made, given), self._to_caller(last, given)

    def _linear_system(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """A (k, h, h) and B (k, h) of h' = A h + B u, for linear units."""
        w = {key: array.astype(np.float64) for key, array in self._weights.items() if key != "offsets"}
        W_rec = np.stack([as_matrix(*own) for own in zip(w["W_rec"], self._weights["offsets"], strict=True)])
        leak = w["leak"]
        A = leak[:, :, None] * W_rec.swapaxes(1, 2) + np.eye(leak.shape[1]) * (1 - leak[:, :, None])
        return A, leak * w["W_in"][:, 0]
