"""Recurrent neural networks: forward over whole sequences, gradients by backpropagation through time."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from operator import is_
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from ..backend import Backend, BackendChoice, backend_of, move, on_device, resolve
from ..kernels.interruption import uninterrupted
from ..kernels.precision import rounded as nearest
from ..messages import shown
from ..streams import Seed, read_seed
from ..validation import as_bool, as_int, require_memory
from . import passes
from .cells import CellName, LayerNorm, choose
from .config import MAX_SIZE, Activation, Array, Config, Direction
from .constraints import UNCONSTRAINED, Constraints, read_constraints
from .device import ComputeDevice, Precision, choose_backend, compute_device
from .generation import generate
from .initialization import Initial, draw, read_embedding, seed_of
from .losses import Loss, LossSpec, Reduction, Weights, read_targets
from .randomness import NOTHING, Drawn, draw_noise, read_dropout
from .serialization import EXTRA_TEXT, load, save
from .stepping import Stepper, extend
from .torch_weights import from_torch, to_torch
from .trace import Trace
from .validation import (
    Batch,
    Purpose,
    all_to_caller,
    as_array,
    as_given,
    as_numbers,
    contiguous,
    fits_kernels,
    is_paired,
    make_batch,
    public,
    public_state,
    read_batch,
    read_floats,
    read_state,
    require_batch_memory,
    split_state,
    steps_before,
    to_caller,
    with_k,
)

if TYPE_CHECKING:
    import torch


class RNN:
    """A recurrent neural network, or k independent ones of the same shape.

    Elman networks compute h_t = f(x_t W_in + h_{t-1} W_rec + b) (Cognitive Science 14, 179, 1990); Jordan
    networks read their last output in place of h_{t-1} (ICS report 8604, 1986); GRU (Cho et al., EMNLP 2014)
    and LSTM (Hochreiter & Schmidhuber, Neural Computation 9, 1735, 1997) have the equations of PyTorch.
    "gru_before" is the GRU as it was published, also that of ONNX and of Keras before TensorFlow 2: its reset
    gate acts before the product, n = tanh(x_t W_in + b + (r h_{t-1}) W_rec).
    With peepholes p the gates of an LSTM see its cells: i and f are logistic(x_t W_in + h_{t-1} W_rec + b +
    p c_{t-1}), and o is logistic(.. + p c_t) (Gers & Schmidhuber, IJCNN 2000).  Leaky units keep a part of
    their value: h_t = (1 - leak) h_{t-1} + leak f(x_t W_in + h_{t-1} W_rec + b) (Jaeger et al., Neural
    Networks 20, 335, 2007), which is the rate equation tau dh/dt = -h + f(..) in steps of leak tau.
    Outputs are y_t = h_t W_out + b_out.

    On the gpu, NumPy x gives NumPy results, and CuPy x gives CuPy results; losses are always those of NumPy.
    Arguments that are CuPy arrays stay where they are, and NumPy arrays are sent.  The host waits for the
    device to read a loss, and once for each CuPy array whose values are checked (x, targets, state, lengths,
    mask, d_outputs, ...).

    All methods raise ValueError for invalid arguments and for parameters that cannot be used; nothing is
    changed then.

    Parameters
    ----------
    input_size, hidden_size : int
        Numbers of inputs i and of hidden units h of each layer.
    output_size : int, optional
        Number of outputs o; without it the hidden units are the outputs.
    cell : {"elman", "jordan", "gru", "gru_before", "lstm", "lstm_peepholes", "leaky"}
        Kind of hidden units.
    activation : {"tanh", "relu", "logistic", "softplus"}
        The function f of "elman", "jordan" and "leaky"; "softplus" is log(1 + e^z).
    num_layers : int
        Layers above the first read the hidden units of the one below; "jordan" has one.
    models : int, optional
        Number k of independent networks computed in one call.  All arrays then have a leading axis k, but
        inputs and targets without it are shared.
    initial : {"orthogonal", "uniform", "identity", "sparse"}
        How weights are drawn.  "orthogonal": W_rec of each gate (Saxe et al., ICLR 2014), W_in and W_out
        uniform within +-sqrt(6 / (in + out)) (Glorot & Bengio, AISTATS 2010), b 0.  "uniform": all within
        +-1/sqrt(h), as in PyTorch.  "identity", for "elman" or "leaky" with "relu": W_rec; the others are
        normal with deviation 0.001, b 0 (Le, Jaitly & Hinton, arXiv:1504.00941).  "sparse", for "elman" or
        "leaky" and training with momentum: each unit reads 15 others by normal W_rec with spectral radius
        1.1, the others are normal with deviation 0.1, b 0 (Sutskever et al., ICML 2013, who take W_in a
        hundredth of that where inputs are numbers).  The initial state is 0, and so are peepholes unless they
        are "uniform".
    dtype : dtype
        np.float32 or np.float64, of all arrays.
    seed : int, numpy.random.Generator, None or sequence of int
        Of the weights: an int from 0 to 2^64-1, a generator that is drawn from once, or None for a fresh
        seed.  Network j of k is identical to a single network that is seeded with seed + j, where the last
        is at most 2^64-1, or with seed[j].
    backend : {"cpu", "gpu", "reference", "auto"}, optional
        Where to compute; None follows `fastrec.get_backend` at every call.
    forget_bias : float, optional
        First value of the bias of an LSTM's forget gates (Jozefowicz et al., ICML 2015); by default 1, but
        with "uniform" it is drawn as the others.
    precision : {"float32", "tf32", "bf16"}
        What both factors of every matrix product, forward and backward, are rounded to, so that tensor cores
        can multiply them: "tf32" keeps 11 significant bits, "bf16" 8; "float32" is true float32.  Sums,
        biases, activations, states, rows of W_in that tokens pick, and all arrays stay float32.  The first
        two are for dtype float32, on "gpu" or "reference"; "bf16" also on "cpu", where that multiplies in it
        faster than in float32 (AMD Zen 4 and later).
    embedding_size : int, optional
        Number e that makes W_in (e, g h) and puts a matrix "E" (i, e) before it, at first standard normal:
        x E W_in takes the place of x W_in.
    embedding : array_like (i, e), optional
        First value of "E", vectors that were learnt elsewhere, such as those of words; e is then the size of
        the embedding.  Networks can have different ones (k, i, e).  All other weights are those that are
        drawn without it; ``trainable={"E": False}`` of `fit` keeps it as it is.
    reverse : bool
        Whether sequences are read from the last step to the first, each row from its own last step.
    bidirectional : bool
        Whether each layer reads its sequences in both directions (Schuster & Paliwal, IEEE Trans. Signal
        Processing 45, 2673, 1997), at the same time and with weights of their own.  The hidden units of a
        step are 2h, those that read forwards first; the outputs of "jordan" are the sum of both.
    reset : {"after", "before"}, optional
        Where the reset gate of a GRU acts: ``cell="gru", reset="before"`` is "gru_before".
    peepholes : bool, optional
        Whether the gates of an LSTM see its cells: ``cell="lstm", peepholes=True`` is "lstm_peepholes".
    leak : float or array_like (h,), optional
        First value of the parameter "leak" of "leaky", above 0 and at most 1, for all units or for each; by
        default 0.2.  Training leaves it alone unless `trainable` of `fit` says otherwise.  With 1 the units
        are those of "elman", bit for bit.
    layer_norm : {False, True, "recurrent"}
        Whether the products of each step are normalised (Ba, Kiros & Hinton, arXiv:1607.06450):
        N(x_t W_in) g_in + b takes the place of x_t W_in + b, and N(h_{t-1} W_rec) g_rec that of
        h_{t-1} W_rec, with N(a) = (a - mean a) / sqrt(var a + 1e-5) over all g h columns of a step of a row.
        All else stays as it is; the c of an LSTM is not normalised.  N(x_t W_in) does not depend on the size
        of x_t, and of a single input only the sign is left: "recurrent" normalises h_{t-1} W_rec alone.  It
        is for all cells but "jordan" and "gru_before", and for whole sequences: `stepper`, `extend` and
        `generate` refuse it.
    connections : mapping of str to array_like, optional
        By the keys of parameters, arrays of 0 and 1 that broadcast to their shapes: where there is a 0, the
        weights are 0, and stay 0 in training.
    signs : mapping of str to array_like, optional
        By the keys of parameters, arrays of -1, 0 and 1: where there is a 1, the weights stay positive or 0,
        at -1 negative or 0.  By Dale's law all weights from one unit have one sign:
        ``{"W_rec": fastrec.dale_signs(h)}``.  First values get their sign, and those of both signs that a
        unit reads add up to 0 (Song, Yang & Wang, PLoS Comput. Biol. 12, e1004792, 2016).

    Attributes
    ----------
    parameters : dict of str to ndarray
        Arrays that may be written to, or replaced by others of the same shape and dtype: the next call uses
        what they hold then.  With g = 1, for GRUs 3 (gates r, z, n) and for LSTMs 4 (i, f, g, o) they are
        "W_in" (i, g h), "W_rec" (h, g h), "b" (g h,) and the learned initial state "h0" (h,).  "gru" has
        "b_n" (h,), the recurrent bias of n, LSTMs have "c0" (h,), those with peepholes "p" (3h,) for i, f and
        o, and "leaky" has "leak" (h,); layer normalisation has "g_in" and "g_rec" (g h,), at first 1.  Layer
        l > 0 has the same with "_l1", ... added, where i is h; "W_out" is (h, o), "b_out" (o,).  In "jordan"
        W_rec is (o, h) and h0 (o,).  A bidirectional network has an axis of 2 before these, behind k, in all
        but "E" and those of the output layer; its i is 2h in layers l > 0, and "W_out" is (2h, o).  On the
        gpu they are CuPy arrays; NumPy arrays put there are moved by the next call, and all of them are when
        the backend changes.

    Raises
    ------
    ValueError
        For arguments that are invalid or exclude each other, or if memory does not suffice.

    Examples
    --------
    >>> rnn = fastrec.RNN(input_size=3, hidden_size=8, output_size=2, cell="gru", seed=0)
    >>> rnn.parameters["W_rec"].shape
    (8, 24)
    >>> outputs, state = rnn.predict(np.zeros((1, 5, 3)))
    >>> outputs.shape, state.shape
    ((1, 5, 2), (1, 1, 8))
    """

    parameters: dict[str, Array]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int | None = None,
        cell: CellName = "elman",
        activation: Activation = "tanh",
        num_layers: int = 1,
        models: int | None = None,
        initial: Initial = "orthogonal",
        dtype: DTypeLike = np.float32,
        seed: Seed | Sequence[int] = None,
        backend: BackendChoice | None = None,
        *,
        forget_bias: float | None = None,
        precision: Precision = "float32",
        embedding_size: int | None = None,
        embedding: ArrayLike | None = None,
        reverse: bool = False,
        bidirectional: bool = False,
        reset: Literal["after", "before"] | None = None,
        peepholes: bool | None = None,
        leak: ArrayLike | None = None,
        layer_norm: LayerNorm = False,
        connections: Mapping[str, ArrayLike] | None = None,
        signs: Mapping[str, ArrayLike] | None = None,
    ) -> None:
        sizes = (input_size, hidden_size, output_size)
        direction = read_direction(reverse, bidirectional)
        kind = choose(cell, reset=reset, peepholes=peepholes)
        vectors = None if embedding is None else read_embedding(embedding, embedding_size)
        embedding_size = embedding_size if vectors is None else vectors.shape[-1]
        rest = (kind, activation, num_layers, models, dtype, embedding_size, direction, layer_norm)
        config = Config(*sizes, *rest)  # type: ignore[arg-type]
        name = choose_backend(backend, precision, config.dtype)
        constants = {} if leak is None else {"leak": leak}
        constraints = read_constraints(config, connections, signs)
        parameters, used = draw(config, initial, seed, forget_bias, constants, vectors)
        constraints.begin(config, parameters)
        self._set(config, parameters, used, backend, precision, constraints)
        self._weights(name)

    @classmethod
    def _of(
        cls,
        config: Config,
        parameters: dict[str, Array],
        seed: int | tuple[int, ...] | None,
        backend: str | None,
        precision: Precision,
        constraints: Constraints = UNCONSTRAINED,
    ) -> RNN:
        """A network that takes over parameters, which must be as config says."""
        network = cls.__new__(cls)
        network._set(config, parameters, seed, backend, precision, constraints)
        return network

    @classmethod
    def _drawn(
        cls,
        config: Config,
        seed: int,
        backend: str | None,
        precision: Precision = "float32",
        embedding: Array | None = None,
    ) -> RNN:
        """A network with the first values that the constructor draws by default."""
        choose_backend(backend, precision, config.dtype)  # before the work of drawing
        drawn = draw(config, "orthogonal", seed, embedding=embedding)
        return cls._of(config, *drawn, backend, precision)._sent()

    def _sent(self) -> RNN:
        """This network, with its parameters where its backend computes."""
        self._weights(self._device().backend)
        return self

    def _set(
        self,
        config: Config,
        parameters: dict[str, Array],
        seed: int | tuple[int, ...] | None,
        backend: str | None,
        precision: Precision,
        constraints: Constraints = UNCONSTRAINED,
    ) -> None:
        self._constraints = constraints
        self._config, self.parameters, self._seed = config, parameters, seed
        self._backend, self._precision = backend, precision
        self._shapes = config.shapes
        # The parameters that were checked last, and views (k, ...) of them, none until they are needed.
        # Threads may share a network, so both are replaced at once.
        self._checked: tuple[dict[str, Array], dict[str, Array]] = {}, {}

    def __getstate__(self) -> dict[str, Any]:
        """What is copied and pickled: parameters as NumPy arrays, which any machine can read."""
        kept = ("_config", "_seed", "_backend", "_precision", "_constraints")
        return {name: getattr(self, name) for name in kept} | {"parameters": self._on_host()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = {"_seed": None, "_constraints": UNCONSTRAINED} | state  # version 0.1.0 did not have them
        names = ("_config", "parameters", "_seed", "_backend", "_precision", "_constraints")
        self._set(*(state[name] for name in names))

    @property
    def input_size(self) -> int:
        """Number of inputs i; integer tokens are 0..i-1."""
        return self._config.input_size

    @property
    def hidden_size(self) -> int:
        """Number of hidden units h, of each layer."""
        return self._config.hidden_size

    @property
    def output_size(self) -> int | None:
        """Number of outputs o, None if the hidden units are the outputs."""
        return self._config.output_size

    @property
    def cell(self) -> CellName:
        """Kind of hidden units: the argument `cell`, or the variant of it that other arguments chose."""
        return self._config.cell

    @property
    def activation(self) -> Activation:
        """The function f: "tanh", "relu", "logistic" or "softplus"; always "tanh" for cells with gates."""
        return self._config.activation

    @property
    def layer_norm(self) -> LayerNorm:
        """What is normalised: nothing, all products (True), or those with the state ("recurrent")."""
        return self._config.layer_norm

    @property
    def num_layers(self) -> int:
        """Number of layers."""
        return self._config.num_layers

    @property
    def direction(self) -> Direction:
        """How sequences are read: "forward", "reverse" or "bidirectional"."""
        return self._config.direction

    @property
    def models(self) -> int | None:
        """Number k of independent networks, None for one network without that axis."""
        return self._config.models

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of all arrays, float32 or float64."""
        return self._config.dtype

    @property
    def n_parameters(self) -> int:
        """Number of parameters, of each network."""
        return self._config.n_parameters

    @property
    def seed(self) -> int | tuple[int, ...] | None:
        """The seed of the first weights, k of them if k were given; None if they were not drawn by fastrec.

        Files of version 0.1.0 do not say it.
        """
        return self._seed

    @property
    def backend(self) -> Backend:
        """Name of the backend that the next call runs on."""
        return resolve(self._backend, domain="rnn")

    @property
    def precision(self) -> Precision:
        """What the factors of matrix products are rounded to: "float32", "tf32" or "bf16"."""
        return self._precision

    def __repr__(self) -> str:
        c = self._config
        parts = [f'{c.input_size}, {c.hidden_size}, {c.output_size}, "{c.cell}"']
        parts += [f'activation="{c.activation}"'] * (c.kind.has_activation and c.activation != "tanh")
        parts += [f"num_layers={c.num_layers}"] * (c.num_layers > 1)
        parts += [f"models={c.models}"] * (c.models is not None)
        parts += [f"embedding_size={c.embedding_size}"] * (c.embedding_size is not None)
        parts += [f"layer_norm={shown(c.layer_norm)}".replace("'", '"')] * bool(c.layer_norm)
        named = {"forward": "", "reverse": "reverse=True", "bidirectional": "bidirectional=True"}
        parts += [named[c.direction]] * (c.direction != "forward")
        parts += [f"dtype={c.dtype}"] * (c.dtype != np.float32)
        parts.append(f'backend="{self.backend}"')
        parts += [f'precision="{self.precision}"'] * (self.precision != "float32")
        parts.append(f"n_parameters={c.n_parameters}")
        return f"RNN({', '.join(parts)})"

    def copy(self, model: int | None = None) -> RNN:
        """Return a network with copies of the parameters.

        Parameters
        ----------
        model : int, optional
            Number of one of k networks, from 0, to copy alone.

        Returns
        -------
        RNN
            An equal network, or the single one.

        Raises
        ------
        ValueError
            If there is no such network.

        Examples
        --------
        >>> fastrec.RNN(3, 8, models=5, seed=0).copy(model=4).models is None
        True
        """
        config, parameters, seed, limits = self._config, self.parameters, self._seed, self._constraints
        self._check()
        if model is not None:
            if config.models is None:
                raise ValueError(f"model is {shown(model)}; this is a single network, leave it out")
            j = as_int("model", model, 0, config.models - 1)
            config = replace(config, models=None)
            parameters = {key: value[j] for key, value in parameters.items()}
            seed, limits = None if seed is None else seed_of(seed, j), limits.select(j)
        copies = {key: parameters[key].copy() for key in self._shapes}
        return RNN._of(config, copies, seed, self._backend, self._precision, limits)

    def rounded(self) -> RNN:
        """Return a copy whose matrices are rounded to bfloat16: 8 significant bits, ties to even.

        All arithmetic stays float32, but `generate` on the cpu then reads half the bytes, which is what
        bounds it for few rows.

        Returns
        -------
        RNN
            The copy.

        Raises
        ------
        ValueError
            Unless dtype is float32.

        Examples
        --------
        >>> bits = fastrec.RNN(3, 8, seed=0).rounded().parameters["W_in"].view(np.uint32)
        >>> bool((bits & 0xFFFF).any())
        False
        """
        if self.dtype != np.float32:
            raise ValueError(f"dtype is {self.dtype}; numbers of bfloat16 are those of float32 networks")
        network = self.copy()
        for key, array in network.parameters.items():
            if key.startswith(("W", "E")):
                array[...] = move(nearest(move(array, "cpu"), "bf16"), backend_of(array))
        return network

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a NumPy .npz file with sizes, parameters and seed, replacing path in one step.

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
        >>> fastrec.RNN(3, 8, seed=0).save("network.npz")
        """
        self._check()
        beside = {} if self._seed is None else {EXTRA_TEXT: {"seed": self._seed}}
        save(path, self._config, self._on_host() | self._constraints.arrays, **beside)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        backend: BackendChoice | None = None,
        precision: Precision = "float32",
    ) -> RNN:
        """Read what `save` wrote, or a checkpoint of `fit`.  Nothing in the file is executed.

        Parameters
        ----------
        path : path-like
            Name of the file.
        backend : str, optional
            As for `RNN`; files do not hold it.
        precision : str
            As for `RNN`; files do not hold it.

        Returns
        -------
        RNN
            A network with the same sizes and parameters.

        Raises
        ------
        ValueError
            For a file that is foreign, truncated or damaged, naming it and what is wrong.

        Examples
        --------
        >>> fastrec.RNN(3, 8, seed=0).save("network.npz")
        >>> fastrec.RNN.load("network.npz").hidden_size
        8
        """
        config, parameters, seed, constraints = load(path)
        return cls._of(config, parameters, seed, backend, precision, constraints)._sent()

    def constrain(self) -> None:
        """Set weights that `connections` or `signs` do not allow to 0, the nearest value that they allow.

        `fit` does so after every update. Call it after each step of an optimiser in a loop of your own.

        Examples
        --------
        >>> signs = {"W_rec": fastrec.dale_signs(8)}
        >>> rnn = fastrec.RNN(3, 8, cell="leaky", activation="relu", signs=signs, seed=0)
        >>> rnn.parameters["W_rec"] -= 0.1
        >>> rnn.constrain()
        >>> bool((rnn.parameters["W_rec"][:6] >= 0).all())
        True
        """
        self._check()
        with uninterrupted():
            self._constraints.apply(self.parameters)

    @classmethod
    def from_torch(
        cls,
        module: torch.nn.Module,
        output: torch.nn.Linear | None = None,
        backend: BackendChoice | None = None,
        precision: Precision = "float32",
    ) -> RNN:
        """Make a network of a PyTorch module, with copies of its weights.

        Arrays are (b, t, ...) here whatever batch_first is, and the initial state is 0.  Two biases that
        PyTorch only adds become their sum.  The dropout of a module is not part of its weights: give
        `fit` the argument `dropout`, which also acts on what the output layer reads.

        Parameters
        ----------
        module : torch.nn.RNN, torch.nn.GRU or torch.nn.LSTM
            The recurrent layers, or a module that holds them, perhaps with one torch.nn.Embedding that they
            read and one torch.nn.Linear that reads them.  What else it computes does not matter.
        output : torch.nn.Linear, optional
            The output layer, if the module does not hold it, or holds several.
        backend : str, optional
            As for `RNN`.
        precision : str
            As for `RNN`.

        Returns
        -------
        RNN
            The network.

        Raises
        ------
        ValueError
            For what fastrec does not have: proj_size, max_norm, other modules and dtypes; for parametrized or
            pruned weights; for a module that holds several recurrent layers, embeddings or output layers, or
            such that do not fit.
        ImportError
            If PyTorch is not installed.

        Examples
        --------
        >>> import torch
        >>> fastrec.RNN.from_torch(torch.nn.GRU(3, 8)).cell
        'gru'
        """
        return cls._of(*from_torch(module, output), None, backend, precision)._sent()

    def to_torch(self) -> torch.nn.RNNBase | tuple[torch.nn.RNNBase, torch.nn.Linear]:
        """Return PyTorch modules with copies of the weights, on the CPU.

        PyTorch has no learned initial state: give the module `Trace.state_at(0)`, for LSTMs split into its
        halves h and c.

        Returns
        -------
        torch.nn.RNN, torch.nn.GRU or torch.nn.LSTM
            The recurrent layers, with batch_first; if the network has an output layer, the pair of them and a
            torch.nn.Linear.

        Raises
        ------
        ValueError
            For networks that PyTorch does not have: "jordan", "leaky", "gru_before", "lstm_peepholes",
            "logistic", "softplus", `reverse`, `layer_norm`, k networks.
        ImportError
            If PyTorch is not installed.

        Examples
        --------
        >>> import torch
        >>> fastrec.RNN(3, 8, cell="gru", seed=0).to_torch()
        GRU(3, 8, batch_first=True)
        """
        self._check()
        return to_torch(self._config, self._on_host())

    def forward(
        self,
        x: ArrayLike,
        state: ArrayLike | None = None,
        lengths: ArrayLike | None = None,
        *,
        tokens: bool | None = None,
        noise: float = 0.0,
        noise_seed: Seed = None,
    ) -> Trace:
        """Run the network over b sequences of t steps.

        Parameters
        ----------
        x : array_like
            Finite numbers (b, t, i), or integer tokens (b, t) from 0 to i - 1 in place of one-hot inputs; for
            k networks also (k, b, t, i) and (k, b, t).  After no steps, t = 0, the state is the one before.
            They are copied: what becomes of x afterwards does
            not matter to `backward`.
        state : array_like, optional
            (layers, b, s), before the first step, in the form of `Trace.state`; by default the learned "h0".
            For LSTMs also the tuple (h, c) of its halves, each (layers, b, h): states then come back as such
            tuples, too.  A bidirectional network has 2 states a layer: those of layer l are 2l and 2l + 1.
        lengths : array_like of int, optional
            (b,), from 0 to t, the steps of each row; what x holds after them does not matter.
        tokens : bool, optional
            Whether x is tokens. By default its shape and dtype decide; integers (k, b, i) may be both, and
            are refused.
        noise : float
            Standard deviation of normal numbers that are added to the argument of f, of every unit and step;
            "leaky" alone takes it.  Steppers, `generate` and `extend` have none.
        noise_seed : int, numpy.random.Generator or None
            From 0 to 2^64-1, a generator that is drawn from once, or None for a fresh seed.  The numbers
            follow from it and row, step, layer and unit, to the bit on every backend.

        Returns
        -------
        Trace
            Outputs, hidden units, the last state, and what `backward` needs.

        Examples
        --------
        >>> rnn = fastrec.RNN(3, 8, 2, seed=0)
        >>> rnn.forward(np.zeros((4, 10, 3)), lengths=[10, 7, 3, 1]).outputs.shape
        (4, 10, 2)
        """
        drawn = draw_noise(self._config, noise, noise_seed)
        batch = self._read(x, state, lengths, Purpose.TRACE, drawn=drawn, tokens=tokens)
        trace = self._forward(batch)._sent_to_caller()
        last = as_given(self._config, state, trace.state)
        return trace if last is trace.state else trace._with_state(last)

    def predict(
        self,
        x: ArrayLike,
        state: ArrayLike | None = None,
        lengths: ArrayLike | None = None,
        *,
        tokens: bool | None = None,
        noise: float = 0.0,
        noise_seed: Seed = None,
    ) -> tuple[Array, Array]:
        """Run the network as `forward` does, but keep nothing for gradients.

        Parameters
        ----------
        x, state, lengths : array_like
            As for `forward`.
        tokens, noise, noise_seed
            As for `forward`.

        Returns
        -------
        outputs : ndarray
            (b, t, o), the hidden units if the network has no output layer.
        state : ndarray
            (layers, b, s), after the last step of each row.

        Examples
        --------
        >>> rnn = fastrec.RNN(3, 8, 2, seed=0)
        >>> outputs, state = rnn.predict([[[0.0, 0.5, 1.0]]])
        >>> outputs, state = rnn.predict([[[0.1, 0.4, 0.9]]], state)  # goes on
        >>> outputs.shape
        (1, 1, 2)
        """
        c = self._config
        drawn = draw_noise(c, noise, noise_seed)
        batch = self._read(x, state, lengths, Purpose.OUTPUTS, drawn=drawn, tokens=tokens)
        made = passes.forward(c, batch)
        last = passes.state_after(made, batch.x.shape[2])
        last = to_caller(batch, public_state(c, last))
        return to_caller(batch, public(c, made.outputs)), as_given(c, state, last)

    def split_state(self, state: ArrayLike) -> tuple[Array, ...]:
        """Split a state into its parts: h and c of an LSTM, which PyTorch and others keep apart.

        Parameters
        ----------
        state : array_like
            (layers, b, s), as `Trace.state`, or already the tuple of its parts.

        Returns
        -------
        tuple of ndarray
            Copies: h and c (layers, b, h) for LSTMs, otherwise the state alone.

        Raises
        ------
        ValueError
            If the state is not finite numbers (layers, b, s).

        Examples
        --------
        >>> rnn = fastrec.RNN(3, 8, cell="lstm", seed=0)
        >>> h, c = rnn.split_state(rnn.forward(np.ones((4, 10, 3))).state)
        >>> h.shape, c.shape
        ((1, 4, 8), (1, 4, 8))
        >>> outputs, (h, c) = rnn.predict(np.ones((4, 10, 3)), state=(h, c))
        """
        array = as_array("state", state[0] if is_paired(self._config, state) else state)  # type: ignore[index]
        rows = array.shape[-2] if array.ndim > 1 else 1
        checked = read_state(self._config, "state", state, rows, self._device(array))
        return split_state(self._config, public_state(self._config, move(checked, backend_of(array))))

    def generate(
        self,
        prompt: ArrayLike,
        steps: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: Seed = None,
        lengths: ArrayLike | None = None,
        state: ArrayLike | None = None,
        stop: int | None = None,
        first: int = 0,
    ) -> tuple[Array, Array]:
        """Continue b prompts by drawing tokens, each of which is the next input, all in one kernel call.

        The network must have as many outputs as inputs.  Draws follow from seed, row and number of the token,
        whatever the batch and backend; backends differ only where the rounding of an output decides.

        Parameters
        ----------
        prompt : array_like of int
            Tokens (b, t) from 0 to i - 1.
        steps : int
            Number of tokens to draw for each row.
        temperature : float
            Tokens are drawn with probabilities in proportion to exp(y / temperature), y being the outputs; 0
            takes the largest output, the first of several.
        top_k : int, optional
            Draw only among this many of the likeliest tokens.
        top_p : float, optional
            Draw only among the fewest of them whose probabilities add up to more than top_p (Holtzman et al.,
            ICLR 2020).  Equal ones count in the order of tokens.
        seed : int, numpy.random.Generator or None
            From 0 to 2^64-1, a generator that is drawn from once, or None for a fresh seed.
        lengths : array_like of int, optional
            (b,), from 1 to t, of each prompt.
        state : array_like, optional
            (layers, b, s) before the prompts, as for `forward`.
        stop : int, optional
            After a row has drawn this token all its others are this token, and its state stays.
        first : int
            Number of the first token drawn.  A second call with the last token as prompt, the state that the
            first call returned, the same seed and first = steps continues as if both were one call.

        Returns
        -------
        tokens : ndarray
            (b, steps) int32.
        state : ndarray
            (layers, b, s), before the last of the tokens is read.

        Raises
        ------
        ValueError
            For invalid arguments.
        FloatingPointError
            If outputs are not finite.

        Examples
        --------
        >>> rnn = fastrec.RNN(5, 8, 5, seed=0)
        >>> tokens, state = rnn.generate([[0, 1], [2, 3]], 6, temperature=0.5, seed=0)
        >>> tokens.shape, state.shape
        ((2, 6), (1, 2, 8))
        """
        options = (steps, temperature, top_k, top_p, seed, stop, first)

        def read() -> Batch:
            return self._read(prompt, state, lengths, Purpose.OUTPUTS)

        batch, drawn, last = generate(self._config, self._precision, read, *options)
        last = to_caller(batch, public_state(self._config, last))
        return to_caller(batch, drawn), as_given(self._config, state, last)

    def extend(
        self,
        x: ArrayLike,
        steps: int,
        state: ArrayLike | None = None,
        lengths: ArrayLike | None = None,
    ) -> tuple[Array, Array]:
        """Read b sequences, then go on by reading the outputs: a forecast, all in one kernel call.

        The network must have as many outputs as inputs, and be trained so that each output is the input that
        comes next.  From the end of x on it runs freely: each output is the next input (Williams & Zipser,
        Neural Computation 1, 270, 1989).

        Parameters
        ----------
        x : array_like
            Finite numbers (b, t, i); for k networks also (k, b, t, i).
        steps : int
            Number of outputs to compute for each row.
        state : array_like, optional
            (layers, b, s) before x, as for `forward`.
        lengths : array_like of int, optional
            (b,), from 1 to t, the steps of each row.

        Returns
        -------
        outputs : ndarray
            (b, steps, i).  The first is the output of the last step of x, as `predict` computes it up to
            rounding: the forecast of the input after it.
        state : ndarray
            (layers, b, s), before the last of the outputs is read.  A second call with ``outputs[:, -1:]`` as
            x and this state goes on as if both were one call.

        Raises
        ------
        ValueError
            For invalid arguments.
        FloatingPointError
            If outputs are not finite.

        Examples
        --------
        >>> rnn = fastrec.RNN(2, 8, 2, "gru", seed=0)
        >>> outputs, state = rnn.extend(np.ones((3, 5, 2)), 4)
        >>> more, state = rnn.extend(outputs[:, -1:], 6, state)
        >>> outputs.shape, more.shape, state.shape
        ((3, 4, 2), (3, 6, 2), (1, 3, 8))
        """
        c, device = self._config, self._device(x, state, lengths)

        def read() -> Batch:
            return self._read(x, state, lengths, Purpose.OUTPUTS, device, tokens=False)

        batch, outputs, last = extend(c, device, read, steps)
        last = to_caller(batch, public_state(c, last))
        return to_caller(batch, public(c, outputs)), as_given(c, state, last)

    def stepper(self, batch: int = 1, state: ArrayLike | None = None, *, tokens: bool = False) -> Stepper:
        """Return what reads one step of b sequences at a time, as they arrive, at little cost for a call.

        It computes what `predict` computes of the whole sequences, up to rounding.

        Parameters
        ----------
        batch : int
            Number b of sequences.
        state : array_like, optional
            (layers, b, s) before the first step, as for `forward`.
        tokens : bool
            Whether the steps are tokens instead of numbers.

        Returns
        -------
        Stepper
            A function of a step that keeps the state, with a copy of the parameters as they are now.

        Raises
        ------
        ValueError
            For invalid arguments.

        Examples
        --------
        >>> stepper = fastrec.RNN(3, 8, 2, "gru", seed=0).stepper()
        >>> for x in np.ones((4, 1, 3), np.float32):  # of a sensor, say
        ...     outputs = stepper(x)
        >>> outputs.shape, stepper.state.shape
        ((1, 2), (1, 1, 8))
        """
        b, read_tokens = as_int("batch", batch, 1, MAX_SIZE), as_bool("tokens", tokens)
        device = self._device(state)
        return Stepper(self._config, device, self._weights(device.backend), b, state, read_tokens)

    def backward(
        self,
        trace: Trace,
        d_outputs: ArrayLike | None = None,
        d_hidden: ArrayLike | None = None,
        d_state: ArrayLike | None = None,
        *,
        flow: bool = False,
    ) -> dict[str, Array]:
        """Compute gradients of a number E by backpropagation through time.

        The method is that of Werbos, Proc. IEEE 78, 1550 (1990).  Of d_outputs, d_hidden and d_state at least
        one is needed, the others count as 0.  What they hold after the end of a row does not matter.

        Parameters
        ----------
        trace : Trace
            Of this network, computed with the parameters it still has; it stays as it is.
        d_outputs : array_like, optional
            (b, t, o), the gradient of E with respect to `Trace.outputs`.
        d_hidden : array_like, optional
            (b, t, h), with respect to `Trace.hidden`, the hidden units of the top layer.
        d_state : array_like, optional
            (layers, b, s), with respect to `Trace.state`.
        flow : bool
            Whether to add "flow".

        Returns
        -------
        dict of str to ndarray
            The keys of `parameters`, "x" (b, t, i) unless x was tokens, and "state" (layers, b, s), the
            gradient of the initial state.  "h0" (and "c0") is its sum over the batch, or 0 if forward was
            given a state.  "flow" (layers, b, t), float64, is the squared norm over h of the whole dE/dh_t,
            which shows how gradients vanish or explode on their way back.  With k networks all have the
            leading axis k, also "x" where they shared it.

        Examples
        --------
        >>> rnn = fastrec.RNN(3, 8, 2, seed=0)
        >>> trace = rnn.forward(np.ones((4, 10, 3)))
        >>> gradients = rnn.backward(trace, d_outputs=trace.outputs)  # of half the sum of squares
        >>> gradients["W_rec"].shape
        (8, 8)
        """
        if not (isinstance(trace, Trace) and trace._network is self):
            raise ValueError("trace is not one of this network; give what its forward returned")
        if d_outputs is None and d_hidden is None and d_state is None:
            raise ValueError("d_outputs, d_hidden and d_state are all missing; give at least one")
        wanted = ("x", "flow") if as_bool("flow", flow) else ("x",)
        gradients = self._gradients(trace, d_outputs, d_hidden, d_state, wanted)
        gradients = all_to_caller(trace._batch, gradients)
        return gradients | {"state": as_given(self._config, d_state, gradients["state"])}

    def _gradients(
        self,
        trace: Trace,
        d_outputs: ArrayLike | None = None,
        d_hidden: ArrayLike | None = None,
        d_state: ArrayLike | None = None,
        wanted: Collection[str] = (),
    ) -> dict[str, Array]:
        """What `backward` returns, where it was computed.  wanted: as for `passes.backward`."""
        c, batch = self._config, trace._batch
        self._check()
        resolve(batch.device.backend, d_outputs, d_hidden, d_state)
        _, b, t, h = trace._made.hidden.shape
        width = h * min(c.num_layers, 3)
        width += c.directions * sum(c.saved[len(c.saved) - c.kind.overwrites_saved :])
        fed_back = c.outputs_width * c.kind.feeds_back_output
        width += (c.direction != "forward") * (h + (c.directions + 1) * (batch.x.shape[-1] + fed_back))
        width += c.outputs_width * (c.output_size is not None) + batch.x.shape[-1]
        require_memory("backward", c.k * b * t * width * c.dtype.itemsize, backend=batch.device.backend)
        # The kernel of the top layer may write over what it is given.
        copied = not (c.kind.overwrites_saved or (c.has_output_layer and d_outputs is not None))
        outputs = self._read_gradient("d_outputs", d_outputs, (b, t, c.outputs_width), batch, copied)
        hidden = self._read_gradient("d_hidden", d_hidden, (b, t, h), batch, copied)
        last = read_state(c, "d_state", d_state, b, batch.device)
        if c.output_size is None and outputs is not None:
            hidden = outputs if hidden is None else hidden + outputs
        return self._public_gradients(passes.backward(trace._made, outputs, hidden, last, wanted))

    def loss(
        self,
        x: ArrayLike,
        targets: ArrayLike,
        loss: Loss = "cross_entropy",
        reduction: Reduction = "mean",
        lengths: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        state: ArrayLike | None = None,
        *,
        weights: Weights | None = None,
        tokens: bool | None = None,
        noise: float = 0.0,
        noise_seed: Seed = None,
    ) -> tuple[float | Any, Array]:
        """Compute the loss of `loss_and_gradients` without gradients.

        Parameters
        ----------
        x, targets, loss, reduction, lengths, mask, state, weights, tokens, noise, noise_seed
            As for `loss_and_gradients`.

        Returns
        -------
        loss : float or ndarray
            The loss, for k networks float64 (k,).
        state : ndarray
            (layers, b, s), after the last step of each row.

        Examples
        --------
        >>> rnn = fastrec.RNN(5, 8, 5, seed=0)
        >>> loss, state = rnn.loss([[0, 1, 2, 3]], [[1, 2, 3, 4]])
        >>> bool(0 < loss < 9)
        True
        """
        device = self._device(x, state, lengths, targets, mask)
        drawn = draw_noise(self._config, noise, noise_seed)
        batch = self._read(x, state, lengths, Purpose.OUTPUTS, device, drawn, tokens)
        goal = read_targets(self._config, batch, targets, loss, reduction, mask, weights)
        losses, trace = self._evaluate(batch, goal)
        return self._public_loss(losses), as_given(self._config, state, to_caller(batch, trace.state))

    def loss_and_gradients(
        self,
        x: ArrayLike,
        targets: ArrayLike,
        loss: Loss = "cross_entropy",
        reduction: Reduction = "mean",
        lengths: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        state: ArrayLike | None = None,
        *,
        weights: Weights | None = None,
        want_x: bool = True,
        dropout: float = 0.0,
        dropout_seed: Seed = None,
        tokens: bool | None = None,
        noise: float = 0.0,
        noise_seed: Seed = None,
    ) -> tuple[float | Any, dict[str, Array], Array]:
        """Compute a loss and its gradients, in less memory than `forward` and `backward` take.

        Parameters
        ----------
        x : array_like
            As for `forward`.
        targets : array_like
            For "cross_entropy" integers (b, t) from 0 to o - 1, for the other names finite numbers (b, t, o);
            for k networks also with a leading axis k. For "ctc" labels (b, u), integers from 1 to o - 1, each
            row filled up with -1. For a function any array with b rows; on the gpu a function gets CuPy's.
        loss : str or callable
            "cross_entropy" is log sum exp(y) - y[target] of a step (softmax included), in nats. "mse" is half
            the sum of squares over the outputs of a step, and "mean_squared_error" the mean of squares over
            outputs and steps. "bce" is the binary cross entropy of targets from 0 to 1, summed over the
            outputs of a step (logistic function included). "ctc" is the loss of `fastrec.ctc` of a row, whose
            class 0 is blank; labels that a row has too few steps for are refused. A function is called with
            outputs (b, t, o) and targets, and returns its value and the gradient with respect to the outputs,
            of their shape; for k networks outputs (k, b, t, o) and values (k,). Steps that do not count are 0
            in outputs, and their gradient is ignored; a parameter `mask` gets the steps that count, (b, t)
            bool.
        reduction : {"mean", "sum"}
            The mean over the steps that count, of all rows together, or their sum (for "mean_squared_error"
            over the outputs too); for "ctc" the mean or sum over rows. A function takes its own.
        lengths : array_like of int, optional
            As for `forward`.
        mask : array_like of bool, optional
            (b, t), which steps count (of those within lengths); targets of others do not matter. Not for
            "ctc".
        state : array_like, optional
            As for `forward`.
        weights : dict, optional
            How much losses count, numbers from 0: "steps" (b, t), "rows" (b,), and "classes" (o,), those of
            the classes of "cross_entropy" or of the outputs of other losses. The mean is divided by the sum
            of the weights of the steps that count; this has the weights of classes in it, as in PyTorch, and
            not those of outputs. "ctc" takes "rows" only.
        want_x : bool
            Whether to compute the gradient of x; False saves its cost.
        dropout : float
            Chance of a hidden unit to count as 0 where a layer hands it on, to the next one or to the output
            layer, in steps of 2^-16; the others are divided by 1 - dropout (Zaremba, Sutskever & Vinyals,
            arXiv:1409.2329).
        dropout_seed : int, numpy.random.Generator or None
            From 0 to 2^64-1, a generator that is drawn from once, or None for a fresh seed.  Which units are
            left out follows from it and row, step, layer and unit.
        tokens, noise, noise_seed
            As for `forward`.

        Returns
        -------
        loss : float or ndarray
            The loss, for k networks float64 (k,).
        gradients : dict of str to ndarray
            Those of `backward`.
        state : ndarray
            (layers, b, s), after the last step of each row.

        Examples
        --------
        >>> rnn = fastrec.RNN(5, 8, 5, seed=0)
        >>> loss, gradients, state = rnn.loss_and_gradients([[0, 1, 2, 3]], [[1, 2, 3, 4]])
        >>> gradients["W_out"].shape
        (8, 5)
        """
        want_x, device = as_bool("want_x", want_x), self._device(x, state, lengths, targets, mask)
        left_out = read_dropout(self._config, dropout, read_seed(dropout_seed, "dropout_seed"))
        drawn = draw_noise(self._config, noise, noise_seed)._replace(dropout=left_out)
        batch = self._read(x, state, lengths, Purpose.GRADIENTS, device, drawn, tokens)
        goal = read_targets(self._config, batch, targets, loss, reduction, mask, weights)
        if want_x:
            copies = self._config.nets * (1 + (self._config.direction != "forward"))
            nbytes = copies * batch.x[0].size * self.dtype.itemsize
            require_memory("the gradient of x", nbytes, backend=device.backend)
        losses, gradients, trace = self._learn(batch, goal, ("x",) if want_x else ())
        value, last = self._public_loss(losses), as_given(self._config, state, to_caller(batch, trace.state))
        gradients = all_to_caller(batch, gradients)
        return value, gradients | {"state": as_given(self._config, state, gradients["state"])}, last

    def _forward(self, batch: Batch) -> Trace:
        """A trace, where it was computed; with the purpose OUTPUTS only outputs and state of it are good."""
        return Trace._of(self, passes.forward(self._config, batch))

    def _evaluate(self, batch: Batch, goal: LossSpec) -> tuple[Array, Trace]:
        """Losses (k,) and a trace as `_forward` returns it, where they were computed."""
        trace = self._forward(batch)
        outputs = trace._made.outputs
        unwanted = batch.device.xp.empty((*outputs.shape[:3], 0), dtype=self.dtype)
        return passes.take_loss(batch, goal, outputs, unwanted), trace

    def _learn(
        self, batch: Batch, goal: LossSpec, wanted: Collection[str] = ()
    ) -> tuple[Array, dict[str, Array], Trace]:
        """Losses (k,), gradients, and a trace of which only `state` and `state_at` are still good.

        All are where they were computed, and nobody has waited for them.  wanted: as for `passes.backward`.
        """
        trace, c = self._forward(batch), self._config
        outputs = trace._made.outputs
        # Nobody else reads this trace, so the gradient of the outputs replaces them, unless they are needed:
        # as hidden units, or by the cell itself.
        d_outputs = outputs if c.has_output_layer else batch.device.empty_like(outputs)
        losses = passes.take_loss(batch, goal, outputs, d_outputs)
        d_hidden = d_outputs if c.output_size is None else None
        d_last = batch.device.xp.zeros_like(batch.start)
        gradients = passes.backward(trace._made, d_outputs, d_hidden, d_last, wanted)
        return losses, self._public_gradients(gradients), trace

    def _public_gradients(self, gradients: dict[str, Array]) -> dict[str, Array]:
        """What `passes.backward` returns as the user reads it."""
        c, of_states = self._config, ("state", "flow")
        weights = {key: gradients[key].reshape(shape) for key, shape in self._shapes.items()}
        self._constraints.clear(weights)
        others = {key: value for key, value in gradients.items() if key not in weights}
        return weights | {
            key: public_state(c, value) if key in of_states else public(c, value)
            for key, value in others.items()
        }

    def _public_loss(self, losses: Array) -> Any:
        """Losses (k,) as the user gets them, which waits for those of the device."""
        value = move(losses, "cpu")
        return value if self._config.models else float(value[0])

    def _check(self) -> tuple[dict[str, Array], dict[str, Array]]:
        """`_checked`; ValueError for parameters that cannot be used: users may have replaced any."""
        known = self._checked
        parameters, checked = self.parameters, known[0]
        if type(parameters) is not dict:
            raise ValueError(f"parameters is {shown(parameters)}; it must be a dict of arrays")
        arrays = list(parameters.values())
        if (
            len(arrays) == len(checked)
            and all(map(is_, arrays, checked.values()))
            and [array.shape for array in arrays] == [self._shapes[key] for key in checked]  # may be set
        ):
            return known  # the checked arrays, which only this network has under other keys
        parameters = dict(parameters)
        if parameters.keys() != self._shapes.keys():
            odd = sorted(parameters.keys() ^ self._shapes.keys())
            raise ValueError(
                f"parameters must have the keys {', '.join(self._shapes)}; check {', '.join(odd)}"
            )
        for key, shape in self._shapes.items():
            array = parameters[key]
            if not (
                (isinstance(array, np.ndarray) or on_device(array))
                and array.shape == shape
                and array.dtype == self._config.dtype
                and fits_kernels(array)
            ):
                form = array.shape if on_device(array) else np.shape(array)
                raise ValueError(
                    f'parameters["{key}"] is {form}, dtype {getattr(array, "dtype", type(array).__name__)}; '
                    f"it must be {shape}, {self.dtype}, C-contiguous, writable"
                )
        self._checked = known = parameters, {}
        return known

    def _weights(self, backend: str) -> dict[str, Array]:
        """The parameters in `kernel_shapes`, checked, where a backend computes; others move there."""
        parameters, views = self._check()
        on_gpu = backend == "gpu"
        if not views or on_device(views["W_in"]) != on_gpu:
            elsewhere = {key: array for key, array in parameters.items() if on_device(array) != on_gpu}
            nbytes = sum(array.nbytes for array in elsewhere.values())
            require_memory("the parameters", nbytes, backend=backend)
            moved = {key: move(array, backend) for key, array in elsewhere.items()}
            self.parameters.update(moved)
            parameters = parameters | moved
            # Views, so that nobody changes the shapes that kernels see.
            views = {key: parameters[key].reshape(shape) for key, shape in self._config.kernel_shapes.items()}
            self._checked = parameters, views
        return views

    def _on_host(self) -> dict[str, Array]:
        """The parameters as NumPy arrays."""
        return {key: move(array, "cpu") for key, array in self.parameters.items()}

    def _device(self, *arrays: object) -> ComputeDevice:
        """Where the next call computes, given those arrays."""
        name = choose_backend(self._backend, self._precision, self._config.dtype, *arrays)
        return compute_device(name, self._precision)

    def _read(
        self,
        x: ArrayLike,
        state: ArrayLike | None,
        lengths: ArrayLike | None,
        purpose: Purpose,
        device: ComputeDevice | None = None,
        drawn: Drawn = NOTHING,
        tokens: bool | None = None,
    ) -> Batch:
        """The checked arguments of `forward`, on a device or where they make it compute."""
        device = device or self._device(x, state, lengths)
        weights = self._weights(device.backend)
        return read_batch(self._config, device, weights, x, state, lengths, purpose, drawn, tokens)

    def _batch(
        self,
        device: ComputeDevice,
        x: Array,
        lengths: Array | None,
        start: Array | None,
        purpose: Purpose,
        drawn: Drawn = NOTHING,
    ) -> Batch:
        """A batch of checked numbers (m, b, t, i) or int32 tokens (m, b, t); see `make_batch`."""
        c, x, (b, t) = self._config, contiguous(x, x.dtype), x.shape[1:3]
        require_batch_memory(c, device, x, b, t, purpose, drawn)
        valid = None if lengths is None else steps_before(lengths, t)
        weights = self._weights(device.backend)
        return make_batch(c, device, weights, x, lengths, start, purpose, drawn, valid)

    def _read_gradient(
        self, name: str, value: ArrayLike | None, shape: tuple[int, ...], batch: Batch, copied: bool
    ) -> Array | None:
        """A gradient given to `backward`, (k, b, t, width)."""
        if value is None:
            return None
        c = self._config
        array = as_numbers(name, value, (*c.lead, *shape))
        checked = batch.device.take(read_floats(name, array, self.dtype, batch.valid, batch.device))
        array = with_k(checked, c.models is not None)
        return array.copy() if copied else array


def read_direction(reverse: bool, bidirectional: bool) -> Direction:
    """The direction that arguments of `RNN` mean."""
    reverse, bidirectional = as_bool("reverse", reverse), as_bool("bidirectional", bidirectional)
    if reverse and bidirectional:
        raise ValueError(
            "reverse and bidirectional are both True; a bidirectional network reads backwards too"
        )
    return "reverse" if reverse else "bidirectional" if bidirectional else "forward"


def require_network(rnn: object) -> None:
    """Raise ValueError unless an argument `rnn` is one."""
    if not isinstance(rnn, RNN):
        raise ValueError(f"rnn is {shown(rnn)}; it must be an RNN")
