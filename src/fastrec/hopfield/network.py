"""The Hopfield network: associative memory of binary states with exact integer couplings."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from threading import Lock
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..backend import BackendChoice, array_module, backend_of, kernels, move, resolve
from ..imports import names_from_new_places
from ..kernels import words
from ..messages import shown
from ..streams import MAX_SEED, Seed, read_seed
from ..validation import (
    as_bool,
    as_choice,
    as_int,
    format_bytes,
    move_checked,
    number,
    require_memory,
)
from .arguments import (
    RuleName,
    read_numbers,
    read_record,
    read_setting,
    read_thresholds,
    read_unknown,
    read_weights,
)
from .dynamics import By, Dynamics, Outcome, Recordable, up_to_the_end
from .matching import match_rows
from .memory import BLOCK_OVERLAPS, PatternMemory, in_shape
from .recall import Averages, Order, RecallResult, Update, choose_representation, read_orders, sweeps_left
from .rules import RULES, Learnt
from .rules.given import GIVEN, fixed_point
from .serialization import load, save
from .states import (
    MAX_UNITS,
    Coding,
    PackedStates,
    States,
    array_of,
    pack_states,
    with_networks,
)
from .stored import Couplings, Setting, StoredPatterns, complete
from .temperature import MOST_AVERAGED, read_temperature, require_hot

__getattr__ = names_from_new_places(__name__)

Representation = Literal["auto", "patterns", "weights"]


class HopfieldNetwork(PatternMemory[StoredPatterns]):
    """A network of n binary units with symmetric or other couplings, an associative memory.

    By Hebb's rule the couplings W are the sum of the outer products of the stored patterns, unscaled
    integers; the usual factor 1/n does not change the sign of a local field.  The other rules give integers
    too, of a stated `scale`.  Everything is computed exactly: the same patterns and seed give the same bits
    on every backend, machine and number of threads (with one exception, see `exact_rule`).

    Parameters
    ----------
    n : int
        Number of units, 1 to 2^31 - 1.
    self_coupling : bool, default False
        Keep the diagonal of W; otherwise it is zero.  Storkey's rule has none.
    backend : str, optional
        "cpu", "gpu", "reference" or "auto"; by default the one in force at each call (`get_backend`).
    representation : {"auto", "patterns", "weights"}, default "auto"
        Recall from packed patterns (n p / 4 bytes) or from weights (n^2 integers of the narrowest dtype);
        "auto" takes the cheaper one that fits in memory.  Both give equal bits.  The patterns alone suffice
        for Hebb's rule without thresholds and weights of memories.
    rule : str, default "hebb"
        How patterns become couplings:

        - "hebb": the sum of x_i x_j.
        - "storkey": each pattern is learnt less the fields that earlier ones give; in fixed point.
        - "projection": the projector onto the space of the patterns, rounded; patterns must be linearly
          independent.
        - "perceptron": each unit learns every pattern again and again until its stability exceeds the margin;
          not symmetric.
        - "covariance": the sum of (v_i - a) (v_j - a) for patterns v of 0 and 1 of which a share a is active.
        - "sequence": the sum of x'_i x_j, where x' is stored after x, so that parallel updates go on to it;
          not symmetric.
    thresholds : float or array_like, shape (n,), optional
        What the local field of a unit, divided by `scale`, must exceed: whole numbers where the scale is 1.
        By default 0, but for "covariance" that of Tsodyks and Feigel'man, half way between what active and
        silent units of a memory receive: theta = a (1 - a) (1/2 - a) n in units of 0 and 1, which is
        2 theta - sum_j W_ij / scale for states of +1 and -1.
    activity : float, optional
        Share a of active units for the rule "covariance": the nearest fraction whose denominator is at most
        1000.
    margin : float, default 0.0
        Of the rule "perceptron": the stability ``x_i h_i / |W_i|`` that every unit exceeds in every memory.
    max_passes : int, default 1000
        Of the rule "perceptron": passes through the patterns after which learning has failed.
    cyclic : bool, default True
        Of the rule "sequence": whether the first pattern follows the last.
    coding : str, default "+-1"
        "01" if arrays of states are written as 1 and 0, where 0 stands for -1.  The dynamics is the same.
    shape : sequence of int, optional
        Shape of a picture of n units: states may then be ``(..., *shape)`` in place of ``(..., n)``,
        and are returned so.

    Raises
    ------
    ValueError
        For invalid arguments.  So does every method, and then leaves the network as it was.
    BackendError
        If the backend is unknown or cannot run here.

    Notes
    -----
    States are +1 and -1 of any integer or float dtype, bool (False is -1), or `PackedStates`.  Patterns
    (k, p, n) make k independent networks of one shape, which are computed in one call; all arrays then have
    the leading axis k.

    On the gpu, NumPy arrays give NumPy arrays and CuPy arrays give CuPy arrays.  The host waits for the
    device only to check the values of CuPy states and of a CuPy order (packed states are trusted), to know
    how many energies were recorded, and in recall of more than 16384 units from patterns to ask, after some
    tens of sweeps, whether all rows have stopped.  Patterns are kept where the backend computes, and move
    when it changes.

    References
    ----------
    J. J. Hopfield, Neural networks and physical systems with emergent collective computational abilities,
    PNAS 79, 2554 (1982).
    A. Storkey, Increasing the capacity of a Hopfield network without sacrificing functionality, ICANN 1997.
    L. Personnaz, I. Guyon and G. Dreyfus, Information storage and retrieval in spin-glass like neural
    networks, J. Physique Lett. 46, L359 (1985).
    E. Gardner, The space of interactions in neural network models, J. Phys. A 21, 257 (1988).
    M. V. Tsodyks and M. V. Feigel'man, The enhanced storage capacity in neural networks with low activity
    level, Europhys. Lett. 6, 101 (1988).

    Examples
    --------
    >>> import fastrec
    >>> patterns = fastrec.random_patterns(p=5, n=100, seed=1)
    >>> net = fastrec.HopfieldNetwork(100)
    >>> net.store(patterns)
    >>> probes = fastrec.corrupt(patterns, flips=10, seed=2)
    >>> bool((net.recall(probes, seed=3).states == patterns).all())
    True

    Thirty patterns are too many for Hebb's rule, not for the projector:

    >>> patterns = fastrec.random_patterns(p=30, n=100, seed=1)
    >>> for rule in ("hebb", "projection"):
    ...     net = fastrec.HopfieldNetwork(100, rule=rule)
    ...     net.store(patterns)
    ...     print(rule, net.is_stable(patterns).sum())
    hebb 3
    projection 30
    """

    def __init__(
        self,
        n: int,
        self_coupling: bool = False,
        backend: BackendChoice | None = None,
        representation: Representation = "auto",
        *,
        rule: RuleName = "hebb",
        thresholds: ArrayLike | None = None,
        activity: float | None = None,
        margin: float | None = None,
        max_passes: int | None = None,
        cyclic: bool | None = None,
        coding: Coding = "+-1",
        shape: Sequence[int] | None = None,
    ) -> None:
        n = as_int("n", n, 1, MAX_UNITS)
        self_coupling = as_bool("self_coupling", self_coupling)
        options = {"activity": activity, "margin": margin, "max_passes": max_passes, "cyclic": cyclic}
        setting = read_setting(n, self_coupling, rule, thresholds, **options)
        self._begin(setting, backend, representation, coding, shape)
        nothing = np.empty((1, 0, words(n)), dtype=np.uint64)
        self._stored = StoredPatterns(setting, nothing, 0, None)

    def _begin(
        self,
        setting: Setting,
        backend: str | None,
        representation: Representation,
        coding: Coding,
        shape: Sequence[int] | None,
    ) -> None:
        """Check and keep what does not change with the patterns."""
        as_choice("representation", representation, get_args(Representation))
        self._begin_memory(setting.n, backend, coding, shape)
        self._representation = representation

    @classmethod
    def from_couplings(
        cls,
        couplings: ArrayLike,
        thresholds: ArrayLike = 0,
        *,
        scale: float | None = None,
        coding: Coding = "+-1",
        shape: Sequence[int] | None = None,
        backend: BackendChoice | None = None,
    ) -> HopfieldNetwork:
        """Make a network of given couplings W, which need be neither symmetric nor without diagonal.

        Without symmetry, recall may end in cycles: synchronous recall finds their period, asynchronous recall
        runs until max_sweeps.

        Parameters
        ----------
        couplings : array_like, shape (n, n) or (k, n, n)
            W_ij is what unit i receives from unit j, or the couplings of k networks; finite numbers.
        thresholds : array_like, shape () or (n,), default 0
            What the local field of a unit must exceed.
        scale : float, optional
            The network computes with the integers nearest to ``scale * couplings`` (halves to even), and
            thresholds likewise.  By default it is 1 if all numbers are whole, which are then exact, else the
            largest power of two with which the sum of ``|W_ij|`` over j and of the threshold stays within
            2^30 for every unit; the integers then differ from the numbers by less than float32 sums do.
        coding, shape, backend
            As for `HopfieldNetwork`.

        Returns
        -------
        HopfieldNetwork
            A network without patterns, in which nothing can be stored.

        Raises
        ------
        ValueError
            If an argument is invalid, or sums of the couplings would overflow 64 bits.

        Examples
        --------
        >>> import fastrec
        >>> net = fastrec.HopfieldNetwork.from_couplings([[0, 2], [-2, 0]])
        >>> int(net.recall([1, 1], update="sync").period)
        4
        """
        array = read_numbers("couplings", couplings)
        if array.ndim not in (2, 3) or array.shape[-1] != array.shape[-2] or not array.size:
            raise ValueError(f"couplings has shape {array.shape}; give (n, n), or (k, n, n) for k networks")
        weights, n = with_networks(array), array.shape[-1]
        own = read_thresholds(thresholds, n, False)
        scale = None if scale is None else number("scale", scale, 0)
        weights, scale = fixed_point(weights, own, scale)
        setting = Setting(n, GIVEN, bool(weights[:, range(n), range(n)].any()), {}, own)
        net = cls.__new__(cls)
        net._begin(setting, backend, "auto", coding, shape)
        nothing = np.empty((len(weights), 0, words(n)), dtype=np.uint64)
        net._stored = StoredPatterns(setting, nothing, 0, array.shape[:-2])
        net._stored.learnt = complete(setting, Learnt(weights, scale), "cpu")
        return net

    @property
    def rule(self) -> str:
        """Name of the learning rule; "given" for `from_couplings`."""
        return self._stored.rule.name

    @property
    def exact_rule(self) -> bool:
        """Whether the same patterns give the same couplings, to the bit, on every machine.

        False for the projection rule, which solves equations in float64.  Its couplings are then data:
        everything that is computed from them is exact.
        """
        return self._stored.rule.exact

    @property
    def scale(self) -> float:
        """What the rule's couplings, times n, are multiplied by to give `couplings`; 1 for Hebb's rule.

        Storkey's changes with the number of patterns.
        """
        return self._learnt("scale").scale

    @property
    def symmetric(self) -> bool:
        """Whether W_ij = W_ji, so that the energy never rises and no synchronous cycle is longer than two."""
        return self._stored.rule.symmetric or self._learnt("symmetric").symmetric

    @property
    def thresholds(self) -> NDArray[Any]:
        """The thresholds (n,) or (k, n) in units of `couplings`, integers."""
        stored, lead = self._stored, self._stored.lead or ()
        if stored.rule.whole and stored.rule is not GIVEN:
            return np.broadcast_to(stored.setting.whole_thresholds(1.0), (*lead, self._n)).copy()
        return move(self._learnt("thresholds").thresholds, "cpu").astype(np.int64).reshape(*lead, self._n)

    def _learnt(self, what: str) -> Couplings:
        """The couplings and what belongs to them."""
        name = self.backend
        return self._stored_on(name, self._require_patterns()).couplings(what, name)

    def __repr__(self) -> str:
        stored = self._stored
        k = f", k={stored.lead[0]}" if stored.lead else ""
        holds = "" if stored.rule is GIVEN else f", p={stored.p}{k}, load={stored.p / self._n:.3g}"
        rule = (
            "" if stored.rule.name == "hebb" else f'{k * (stored.rule is GIVEN)}, rule="{stored.rule.name}"'
        )
        return (
            f"HopfieldNetwork(n={self._n}{holds}{rule}, "
            f'backend="{self.backend}", memory={format_bytes(stored.nbytes)})'
        )

    def __getstate__(self) -> dict[str, Any]:
        """The state to copy or pickle; arrays of a device become NumPy's, which any machine can read."""
        stored = self._stored if self._stored.is_on("cpu") else self._stored.moved("cpu")
        names = ("_n", "_backend", "_representation", "_coding", "_shape")
        return {
            **{name: getattr(self, name) for name in names},
            "_setting": replace(stored.setting, rule=stored.rule.name),  # type: ignore[arg-type]
            "_lead": stored.lead,
            "_memory_weights": stored.memory_weights,
            # Without the spare rows, into which `store` writes.
            "_buffer": stored.buffer[:, : stored.p],
            "_units": stored.unit_words,
            "_learnt": stored.learnt,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._writing = Lock()
        if "_self_coupling" in state:  # of version 0.1.0
            setting = Setting(state["_n"], RULES["hebb"], state["_self_coupling"])
            self._begin(setting, state["_backend"], state["_representation"], "+-1", None)
            self._stored = StoredPatterns(setting, state["_buffer"], state["_p"], state["_lead"])
            return
        for name in ("_n", "_backend", "_representation", "_coding", "_shape"):
            setattr(self, name, state[name])
        setting = replace(state["_setting"], rule=(RULES | {GIVEN.name: GIVEN})[state["_setting"].rule])
        buffer = state["_buffer"]
        self._stored = StoredPatterns(
            setting, buffer, buffer.shape[1], state["_lead"], state["_memory_weights"]
        )
        self._stored.unit_words, self._stored.learnt = state["_units"], state["_learnt"]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a NumPy .npz file of the rule and the packed patterns, replacing path in one step.

        Couplings are written where they do not follow from the patterns to the bit: those of the projection
        rule, and given ones.

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
        >>> net = fastrec.HopfieldNetwork(100)
        >>> net.store(fastrec.random_patterns(p=5, n=100, seed=1))
        >>> net.save("memories.npz")
        """
        stored = self._stored
        save(path, stored if stored.is_on("cpu") else stored.moved("cpu"), self._coding, self._shape)

    @classmethod
    def load(cls, path: str | os.PathLike[str], backend: BackendChoice | None = None) -> HopfieldNetwork:
        """Read what `save` wrote.  Nothing in the file is executed.

        Parameters
        ----------
        path : path-like
            Name of the file.
        backend : str, optional
            As for `HopfieldNetwork`; files do not hold it.

        Returns
        -------
        HopfieldNetwork
            A network with the same patterns, rule and couplings.

        Raises
        ------
        ValueError
            For a file that is foreign, truncated or damaged, naming it and what is wrong.

        Examples
        --------
        >>> net = fastrec.HopfieldNetwork(100)
        >>> net.store(fastrec.random_patterns(p=5, n=100, seed=1))
        >>> net.save("memories.npz")
        >>> fastrec.HopfieldNetwork.load("memories.npz").n_patterns
        5
        """
        stored, coding, shape = load(path)
        net = cls.__new__(cls)
        net._begin(stored.setting, backend, "auto", coding, shape)
        net._stored = stored
        return net

    def store(self, patterns: States, *, weight: int | ArrayLike = 1) -> None:
        """Store patterns in addition to those stored before.

        The rules "projection" and "perceptron" learn at once, the others when couplings are first needed.

        Parameters
        ----------
        patterns : array_like or PackedStates
            One pattern (n,), patterns (p, n), or (k, p, n) for k networks; the first call fixes k.
            `PackedStates` that are where the backend computes are not copied.
        weight : int or array_like of int, shape (p,), default 1
            How often each pattern counts, of the rules "hebb" and "covariance": not 0, and smaller than 2^29
            in size.  A negative weight is unlearning.

        Raises
        ------
        ValueError
            If patterns are no states of n units, have another k, do not fit in memory, or are so many that
            sums would overflow: p n^2 must stay below 2^63.  If the rule cannot learn them: "projection"
            takes linearly independent patterns, "perceptron" those that its margin allows.

        Examples
        --------
        >>> import fastrec
        >>> net = fastrec.HopfieldNetwork(4)
        >>> net.store([[1, 1, -1, -1], [1, -1, 1, -1]])
        >>> net.store([1, -1, -1, 1])
        >>> net.n_patterns
        3
        """
        name = resolve(self._backend, array_of(patterns))
        self._require_rule("store")
        packed, shape = self._read("patterns", patterns, name, self._stored)
        counts = read_weights(weight, packed.shape[1], self._stored.rule)
        with self._writing:
            stored = self._stored
            self._require_shape("patterns", shape, stored)  # another thread may have been the first to store
            if stored.p and not stored.is_on(name):
                stored = stored.moved(name)
            self._stored = self._able(stored.extended(packed, counts, shape[:-2], name), name)

    def forget(self, patterns: States) -> None:
        """Remove stored patterns, each as often as it is given, as if they had never been stored.

        Of equal stored patterns the last are removed first, so that forgetting what was just stored restores
        the network exactly.  With every rule the others are learnt as they would have been without those
        removed.  The host compares the patterns, also those of the gpu.

        Parameters
        ----------
        patterns : array_like or PackedStates
            One pattern (n,), patterns (p, n), or (k, p, n) for k networks.

        Raises
        ------
        ValueError
            If a pattern is not stored, or not as often as it is to be forgotten; the message names the first.

        Examples
        --------
        >>> import fastrec
        >>> net = fastrec.HopfieldNetwork(4)
        >>> net.store([[1, 1, -1, -1], [1, -1, 1, -1]])
        >>> net.forget([1, 1, -1, -1])
        >>> net.patterns
        array([[ 1, -1,  1, -1]], dtype=int8)
        """
        name = resolve(self._backend, array_of(patterns))
        self._require_rule("forget")
        packed, shape = self._read("patterns", patterns, name, self._require_patterns())
        removed = move_checked("forget", packed, "cpu")
        with self._writing:
            stored = self._require_patterns()
            rows = move_checked("forget", stored.packed(), "cpu")
            k, q, w = removed.shape
            dropped, missing = match_rows(rows, removed)
            if missing is not None:
                index = ", ".join(map(str, divmod(missing, q)[3 - len(shape) :]))
                which = f"patterns[{index}]" if index else "patterns"
                raise ValueError(f"{which} is not stored, or not as often as it is to be forgotten")
            p = stored.p - q
            require_memory("forget", 8 * k * p * w)
            weights = stored.memory_weights
            if weights is not None:
                if (dropped != dropped[0]).any():
                    raise ValueError(
                        "networks would keep patterns of different weights; forget the same of each"
                    )
                weights = weights[~dropped[0]]
            left = stored.replaced(move(rows[~dropped].reshape(k, p, w), name), p, shape[:-2], weights)
            self._stored = self._able(left, name) if p else left

    @property
    def patterns(self) -> NDArray[np.int8]:
        """A copy of the stored patterns, (p, n) or (k, p, n), in the order in which they were stored.

        As in version 0.1.0 it can still be called, with a DeprecationWarning.

        Examples
        --------
        >>> import fastrec
        >>> net = fastrec.HopfieldNetwork(4)
        >>> net.store([True, True, False, False])
        >>> net.patterns
        array([[ 1,  1, -1, -1]], dtype=int8)
        """
        return super().patterns.view(CallableArray)

    def couplings(self) -> NDArray[Any]:
        """Return a copy of the couplings W.

        Returns
        -------
        ndarray of int8, int16, int32 or int64, shape (n, n) or (k, n, n)
            The couplings, in the narrowest dtype that holds them; `scale` tells in which units.

        Raises
        ------
        ValueError
            If they do not fit in memory.

        Examples
        --------
        >>> import fastrec
        >>> net = fastrec.HopfieldNetwork(3)
        >>> net.store([[1, 1, -1], [1, -1, -1]])
        >>> net.couplings()
        array([[ 0,  0, -2],
               [ 0,  0,  0],
               [-2,  0,  0]], dtype=int8)
        """
        name, stored = self.backend, self._stored
        if stored.p or stored.learnt is not None:
            stored = self._stored_on(name, stored)
            weights = stored.couplings("couplings()", name, keep=not stored.pattern_space).weights
            weights = move_checked("couplings()", weights, "cpu")
            weights = weights.copy() if stored.learnt is not None else weights
        else:
            weights = np.zeros((stored.buffer.shape[0], self._n, self._n), dtype=np.int8)
        return in_shape(weights, (*(stored.lead or ()), self._n))

    def recall(
        self,
        probes: States,
        update: Update = "async",
        order: Order = "random",
        max_sweeps: int | None = None,
        seed: Seed = None,
        record_energy: bool = False,
        *,
        temperature: float | ArrayLike = 0,
        average: int | None = None,
        first_sweep: int = 0,
        repeats: int | None = None,
        record: Recordable | Sequence[Recordable] = (),
        by: By = "sweep",
        clamp: ArrayLike | None = None,
        unknown: float | ArrayLike | None = None,
    ) -> RecallResult:
        """Run the dynamics from probes until it stops.

        A unit takes the sign of its local field less its threshold, and keeps its state where that is 0.  At
        a temperature T above 0 it becomes +1 with probability 1 / (1 + exp(-2 h / T)), where h is the field
        less the threshold divided by `scale` and n: Glauber's dynamics, for the energy of `energy`.

        Parameters
        ----------
        probes : array_like or PackedStates
            One state (n,), or states (b, n) or (..., n).  For k networks (k, b, n) or (k, ..., n), or (n,) or
            (b, n), from which all of them start.
        update : {"async", "sync"}, default "async"
            "async" updates the units one after the other, each seeing all earlier updates; a row has
            converged after a whole sweep without a flip.  "sync" updates all units at once and stops at a
            fixed point or a cycle, of two states where the couplings are symmetric.  Longer ones are found by
            Brent's search, which compares with the states after 1, 2, 4, 8, ... steps.
        order : {"random", "sequential"} or array_like of int, shape (sweeps, n), default "random"
            Order of the units in asynchronous sweeps.  "random" draws a permutation for each sweep, shared by
            all rows and networks, so that a row does not depend on those beside it.  "sequential" is
            0, ..., n - 1.  An array holds a permutation for each sweep, like those of `random_orders`, and
            limits max_sweeps to their number.
        max_sweeps : int, optional
            Largest number of sweeps, 1 to 2^31 - 1; by default 100, or as many as there are temperatures.
        seed : int, numpy.random.Generator or None, default None
            Seed of the random orders and of the draws at a temperature: 0 to 2^64 - 1, a generator to draw it
            from, or None for a fresh one.
        record_energy : bool, default False
            Return the energies before the first and after each sweep too.  Where those of max_sweeps would
            take more than 64 MiB, the rows are recalled twice: first to count the sweeps.
        temperature : float or array_like of float, shape (sweeps,), default 0
            At 0 the dynamics is deterministic.  Above 0 each row draws for itself, goes on for max_sweeps
            sweeps and never counts as converged.  An array holds a temperature for each sweep: annealing,
            which stops as usual once no temperature above 0 is left.  In units of the energy, so that 1 is
            the temperature above which a network of few patterns remembers nothing.
        average : int, optional
            Average over so many sweeps, the last ones, at temperatures that do not end with 0.
        first_sweep : int, default 0
            Number of the first sweep, 0 to 2^31 - 1, at which the random orders, the draws, or the rows of an
            array of orders, begin.  So a recall goes on: the states after 2 sweeps are those after one sweep,
            recalled for one more with the same seed and ``first_sweep=1``.
        repeats : int, optional
            Recall each probe in so many independent random orders, or at a temperature with so many
            independent draws.  The result then has a leading axis of
            this length, of which element r is that of ``seed + r`` (mod 2^64).
        record : str or sequence of str, default ()
            What to keep of the course: "energy", "overlap" (with every stored pattern) and "states".
            Except for energies by sweep this needs the couplings in memory.
        by : {"sweep", "update"}, default "sweep"
            Whether it is kept after each sweep, or after each flip of asynchronous updates.
        clamp : array_like of bool, shape (n,) or that of the probes, optional
            Units that keep the state of the probe.  Needs the couplings in memory.
        unknown : number or array_like of bool, optional
            The units whose states the probe does not tell: a mask, (n,) or of the shape of the probes, or the
            number that stands for them in the probes (`nan` too).  They start with the sign of the field that
            the known units give them, +1 where it is at its threshold.

        Returns
        -------
        RecallResult
            The final states, how each row stopped, and after how many sweeps and flips.

        Raises
        ------
        ValueError
            If no pattern is stored, for invalid probes or arguments, or if couplings that are needed, or what
            is recorded, do not fit in memory.

        References
        ----------
        J. Bruck, On the convergence properties of the Hopfield model, Proc. IEEE 78, 1579 (1990).
        R. P. Brent, An improved Monte Carlo factorization algorithm, BIT 20, 176 (1980).
        R. J. Glauber, Time-dependent statistics of the Ising model, J. Math. Phys. 4, 294 (1963).

        Examples
        --------
        >>> import fastrec
        >>> net = fastrec.HopfieldNetwork(6)
        >>> net.store([1, 1, 1, -1, -1, -1])
        >>> result = net.recall([1, 1, -1, -1, -1, -1], seed=1)
        >>> result.states
        array([ 1,  1,  1, -1, -1, -1], dtype=int8)
        >>> int(result.flips), bool(result.converged)
        (1, True)
        """
        stored = self._require_patterns()
        name = resolve(self._backend, array_of(probes), order)
        xp = array_module(name)
        as_choice("update", update, get_args(Update))
        as_bool("record_energy", record_energy)
        temperatures, max_sweeps = read_temperature(temperature, max_sweeps)
        first_sweep = as_int("first_sweep", first_sweep, 0, 2**31 - 1)
        orders = read_orders(order, self._n, name)
        hot = np.flatnonzero(temperatures)
        random = hot.size > 0 or (update == "async" and isinstance(order, str) and order == "random")
        if update == "sync" and not (isinstance(order, str) and order == "random"):
            raise ValueError('order is of async updates; update="sync" changes all units at once')
        if update == "sync" and first_sweep and not hot.size:
            raise ValueError(f'first_sweep is {first_sweep}; update="sync" has no orders that begin there')
        if repeats is not None and not random:
            raise ValueError(
                f"repeats is {shown(repeats)}; only random orders of async updates, or draws at a "
                "temperature, differ in each"
            )
        times = 1 if repeats is None else as_int("repeats", repeats, 1, 2**31 - 1)
        if not isinstance(order, str):
            limit = sweeps_left(orders, first_sweep)
            if 1 < len(temperatures) > limit:
                raise ValueError(
                    f"temperature is a schedule of {len(temperatures)} sweeps; order holds {limit} from "
                    "first_sweep on"
                )
            max_sweeps = min(max_sweeps, limit)
        averaged = 0 if average is None else as_int("average", average, 1, min(max_sweeps, MOST_AVERAGED))
        if averaged and not temperatures[-1]:
            raise ValueError(f"average is {averaged}; it takes a temperature above 0 in the last sweep")
        record, seed = read_record(record, record_energy, by, update), read_seed(seed)
        probes, hidden = read_unknown(probes, unknown)
        states, shape = self._read("probes", probes, name, stored)
        k, b, _ = states.shape
        where = backend_of(array_of(probes))
        if not isinstance(probes, PackedStates):
            require_memory(f"recall of {times * k * b} states", times * k * b * self._n, backend=where)
        require_memory(f"recall of {times * k * b} states", times * states.nbytes, backend=name)
        clamped = None if clamp is None else self._read_mask("clamp", clamp, shape, states, name)
        mask = None if hidden is None else self._read_mask("unknown", hidden, shape, states, name)
        stored = self._stored_on(name, stored)
        if mask is not None:
            states = self._guess(stored, name, states, mask)
        if hot.size:
            hot_sweeps = max_sweeps if len(temperatures) == 1 else min(max_sweeps, int(hot[-1]) + 1)
            temperatures = np.broadcast_to(temperatures, max_sweeps)[:hot_sweeps]
        needed = clamped is not None or (record != () and (record != ("energy",) or by != "sweep"))
        from_weights = needed or self._choose(stored, b, update, name, hot.size > 0) == "weights"
        if hot.size:
            require_hot(stored, name, averaged, states, times, from_weights)
        settings = (orders, first_sweep, max_sweeps, from_weights, clamped)
        dynamics = Dynamics(stored, name, update, *settings, temperatures if hot.size else (), averaged)
        runs = [dynamics.run_recorded(states, seed + r & MAX_SEED, record, by) for r in range(times)]
        final, stopped, sweeps, flips = (
            runs[0][i] if times == 1 else xp.concatenate([found[i] for found in runs]) for i in range(4)
        )
        lead = shape[:-1] if repeats is None else (times, *shape[:-1])
        course = self._course(stored, name, runs, record, by, lead, probes)
        stopped, sweeps, flips = (in_shape(move(array, where), lead) for array in (stopped, sweeps, flips))
        found = self._states_like(probes, in_shape(final, lead), name)
        period = stopped.astype(np.int32)
        drawn = seed if random else None
        averages = self._averages(stored, name, runs, averaged, lead, probes) if averaged else None
        return RecallResult(
            found, stopped == 1, period, sweeps, flips, seed=drawn, averages=averages, **course
        )

    def _guess(self, stored: StoredPatterns, name: str, states: Any, mask: Any) -> Any:
        """States (k, b, w) whose units in the mask have the sign of the field of all others."""
        xp, (k, b, _) = array_module(name), states.shape
        guessed, step = states.copy(), max(1, BLOCK_OVERLAPS // (k * max(self._n, stored.p)))
        thresholds = 0 if stored.pattern_space else stored.couplings("unknown", name).thresholds[:, None]
        for i in range(0, b, step):
            some, hidden = (xp.ascontiguousarray(array[:, i : i + step]) for array in (states, mask))
            up, down = (stored.fields("unknown", name, s) for s in (some | hidden, some & ~hidden))
            above = up.astype(np.int64) + down >= 2 * thresholds
            above = pack_states(above.astype(np.int8) * np.int8(2) - np.int8(1), name)
            guessed[:, i : i + step] = (some & ~hidden) | (above & hidden)
        return guessed

    def _course(
        self,
        stored: StoredPatterns,
        name: str,
        runs: list[Outcome],
        record: Sequence[Recordable],
        by: By,
        lead: tuple[int, ...],
        probes: States,
    ) -> dict[str, Any]:
        """The energies, overlaps, states and turns of `RecallResult` from what the runs recorded."""
        if not record:
            return {}
        xp, where = array_module(name), backend_of(array_of(probes))
        lengths = [run.flips if by == "update" else run.sweeps for run in runs]
        times = 1 + max(int(length.max()) for length in lengths)
        ends, course = xp.concatenate(lengths), dict[str, Any]()
        past = xp.arange(times) > ends[..., None]

        def joined(arrays: list[Any], lengths: list[Any], times: int) -> Any:
            return xp.concatenate([up_to_the_end(*each, times) for each in zip(arrays, lengths, strict=True)])

        def shown(array: Any) -> Any:
            return in_shape(move(array, where), lead)

        if "energy" in record:
            energies = self._energies(joined([run.forms for run in runs], lengths, times), stored, name)
            energies[past] = np.nan
            course["energies"] = shown(energies)
        if "overlap" in record or "states" in record:
            trail = joined([run.trail for run in runs], lengths, times)
            course |= self._passed(stored, name, trail, past, record, lead, probes)
        if by == "update":
            turns = joined([run.turns for run in runs], lengths, times - 1)
            turns[past[..., 1:]] = -1
            course["turns"] = shown(turns)
        return course

    def _averages(
        self,
        stored: StoredPatterns,
        name: str,
        runs: list[Outcome],
        sweeps: int,
        lead: tuple[int, ...],
        probes: States,
    ) -> Averages:
        """Averages over so many sweeps from the sums of the runs."""
        xp, where = array_module(name), backend_of(array_of(probes))
        totals, forms = (xp.concatenate([run[i] for run in runs]) for i in (7, 8))
        squares = (totals.astype(np.int64) ** 2).sum(axis=2) / (float(self._n) * float(sweeps) ** 2)
        overlaps, means = None, totals / float(sweeps)
        if stored.rule is not GIVEN:
            k = stored.buffer.shape[0]
            sums = stored.sums_with(name, totals.reshape(k, -1, self._n), sweeps)
            overlaps = sums.reshape(*totals.shape[:2], stored.p) / (float(self._n) * sweeps)
        if self._coding == "01":
            means = (means + 1) / 2
        energies = self._energies(forms, stored, name) / float(sweeps)
        energies, squares, means = (in_shape(move(a, where), lead) for a in (energies, squares, means))
        if self._is_pictured(probes):
            means = means.reshape(*lead, *(self._shape or ()))
        overlaps = None if overlaps is None else in_shape(move(overlaps, where), lead)
        return Averages(sweeps, means, overlaps, energies, squares)

    def local_fields(self, states: States) -> NDArray[np.int32] | NDArray[np.int64]:
        """Return the local fields h = W s of states s, from which thresholds are not taken off.

        Parameters
        ----------
        states : array_like or PackedStates, shape (n,), (b, n) or (k, b, n)
            The states.

        Returns
        -------
        ndarray of int32 or int64
            Integers of the shape of the states, in units of `couplings`; int32 if they fit.

        Examples
        --------
        >>> import fastrec
        >>> net = fastrec.HopfieldNetwork(3)
        >>> net.store([1, 1, -1])
        >>> net.local_fields([1, 1, 1])
        array([ 0,  0, -2], dtype=int32)
        """

        stored = self._require_patterns()
        numbers = max(stored.p, self._n)
        return self._by_rows(
            *("local_fields", states, stored, 8 * self._n, numbers),
            lambda stored, name, s: stored.fields("local_fields", name, s),
            True,
        )

    def energy(self, states: States) -> NDArray[np.float64] | Any:
        """Return the energy of states s, from exact integers.

        E = -(1/2n) sum_ij W_ij s_i s_j + (1/n) sum_i theta_i s_i, with couplings W and thresholds theta
        divided by `scale`.  Asynchronous updates never raise it if the couplings are symmetric and no
        self-coupling is negative.

        Parameters
        ----------
        states : array_like or PackedStates, shape (n,), (b, n) or (k, b, n)
            The states.

        Returns
        -------
        ndarray of float64
            The energies, of the shape of the states without the last axis.

        Examples
        --------
        >>> import fastrec
        >>> net = fastrec.HopfieldNetwork(4)
        >>> net.store([1, 1, -1, -1])
        >>> float(net.energy([1, 1, -1, -1]))  # -(n - 1) / 2
        -1.5
        """

        stored = self._require_patterns()
        return self._by_rows(
            *("energy", states, stored, 8, max(stored.p, 1)),
            lambda stored, name, s: self._energies(stored.forms("energy", name, s), stored, name),
        )

    def is_stable(self, states: States) -> NDArray[np.bool_] | Any:
        """Return whether no unit of a state has a local field against it.

        Parameters
        ----------
        states : array_like or PackedStates, shape (n,), (b, n) or (k, b, n)
            The states.

        Returns
        -------
        ndarray of bool
            Of the shape of the states without the last axis.  Recall leaves stable states as they are.

        Examples
        --------
        >>> import fastrec
        >>> net = fastrec.HopfieldNetwork(4)
        >>> net.store([1, 1, -1, -1])
        >>> net.is_stable([[1, 1, -1, -1], [-1, -1, 1, 1], [1, 1, 1, -1]])
        array([ True,  True, False])
        """

        def kernel(stored: StoredPatterns, name: str, s: Any) -> Any:
            xp = array_module(name)
            if not stored.pattern_space:
                return stored.step("is_stable", name, s, 1, xp.empty((*s.shape[:2], 0), np.int64)) == 1
            stable, m = xp.empty(s.shape[:2], dtype=bool), stored.overlaps(name, s)
            kernels("hopfield", name).is_stable(
                stored.units(name), s, m, stored.setting.self_coupling, stable
            )
            return stable

        stored = self._require_patterns()
        return self._by_rows("is_stable", states, stored, 8, max(stored.p, 1), kernel)

    def _require_rule(self, job: str) -> None:
        """Raise ValueError where couplings were given, which hold no patterns."""
        if self._stored.rule is GIVEN:
            raise ValueError(f"{job} needs a learning rule; the couplings of this network were given")

    def _able(self, stored: StoredPatterns, backend: str) -> StoredPatterns:
        """The patterns, learnt if the rule could fail; ValueError if it does."""
        if stored.rule.can_fail:
            couplings, failed = stored.learn(backend)
            if failed:
                network, reason = next(iter(failed.items()))
                raise ValueError(f"{f'network {network}: ' if stored.lead else ''}{reason}")
            stored.learnt = couplings
        return stored

    def _require_patterns(self) -> StoredPatterns:
        """The patterns as they are now; ValueError if there are none."""
        stored = self._stored
        if not stored.p and stored.learnt is None:
            raise ValueError("the network holds no patterns; call store(patterns) first")
        return stored

    def _require_memories(self) -> StoredPatterns:
        """The patterns as they are now; ValueError if there are none, also of given couplings."""
        self._require_rule("comparing with memories")
        return self._require_patterns()

    def _choose(
        self, stored: StoredPatterns, b: int, update: Update, backend: str, hot: bool
    ) -> Literal["patterns", "weights"]:
        if not stored.pattern_space:
            return "weights"
        if self._representation == "auto":
            k, have_weights = stored.buffer.shape[0], stored.learnt is not None
            return choose_representation(k, b, self._n, stored.p, update, have_weights, backend, hot)
        return self._representation

    def _energies(self, forms: Any, stored: StoredPatterns, backend: str) -> Any:
        scale = 1.0 if stored.pattern_space else stored.couplings("energy", backend).scale
        return forms / (-2.0 * self._n * scale) + 0.0  # + 0.0 turns -0.0 into 0.0


class CallableArray(np.ndarray):
    """An array that can be called, as `HopfieldNetwork.patterns` could in version 0.1.0."""

    def __call__(self) -> NDArray[Any]:
        """Return the array, with a warning."""
        warnings.warn("patterns is a property now: write net.patterns", DeprecationWarning, stacklevel=2)
        return np.asarray(self)

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        """Results of computations are plain arrays."""
        return array[()] if return_scalar else array

    def __repr__(self) -> str:
        return repr(np.asarray(self))
