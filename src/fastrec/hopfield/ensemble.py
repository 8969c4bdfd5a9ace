"""Which networks a study is of: their rule, thresholds and patterns, in words and as objects."""

from __future__ import annotations

import functools
import hashlib
import re
import sys
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..backend import Backend, kernels, move
from ..kernels.interruption import uninterrupted
from ..messages import shown
from ..streams import stream_key
from ..validation import as_bool, as_choice, as_int, number
from .arguments import RuleName, read_numbers, read_setting
from .dense import DenseMemory
from .interaction import EXPONENTIAL, Degree, Interaction, read_degree
from .network import HopfieldNetwork
from .recall import Update
from .rules import HEBB, RULES
from .rules.sequence import SEQUENCE
from .states import PackedStates, States, check_states, draw_patterns, draws_below, pack_states

RANDOM, OWN = "random", "default"  # patterns that are drawn here, thresholds that are those of the rule
COUPLINGS, NO_POWER = 2, 0  # the degrees of networks with couplings, and of exponential memories
ARRAY = "sha256:"  # before the hash that is the name of an array
NAMES = rf"{ARRAY}[0-9a-f]{{64}}"
FUNCTIONS, NUMBER = r"\w+(\.\w+)+", r"-?\d+(\.\d+)?(e[+-]?\d+)?"  # as repr writes a float

Draw: TypeAlias = "Callable[[np.random.Generator, int, int], States]"  # a text, as `streams.Seed` is one
"""patterns(generator, p, n) returns p patterns of n units."""


@dataclass(frozen=True, kw_only=True, repr=False)
class EnsembleDefinition:
    """Which networks a study is of: a part of its definition.

    Parameters
    ----------
    rule : str, default "hebb"
        Learning rule, as of `HopfieldNetwork`.
    patterns : str, default "random"
        "random", "sha256:" and the hash of an array (of the text of its shape, as "(30, 100)", and its int8
        values), or the name of the function that draws them.
    activity : float, default 0.0
        Probability of +1 in random patterns, and parameter of the rule "covariance"; 0.0 where none is asked
        for: +1 and -1 are then equally likely.
    self_coupling : bool, default False
        Whether units couple to themselves.
    thresholds : str, default "default"
        "default" for those of the rule, a number, or "sha256:" and the hash of an array (of the text of its
        shape and its float64 values).
    margin : float, default 0.0
        Of the rule "perceptron".
    max_passes : int, default 0
        Of the rule "perceptron"; 0 for other rules, which take none.
    degree : int, default 2
        2 for networks with couplings, a larger number for a `DenseMemory` of that degree, 0 for an
        exponential one.

    Raises
    ------
    ValueError
        For any other value.

    Examples
    --------
    >>> from fastrec.hopfield.ensemble import EnsembleDefinition
    >>> EnsembleDefinition(activity=0.1, self_coupling=True).networks
    ' in networks of the rule hebb with patterns of activity 0.1, self-coupling'
    """

    rule: str = HEBB.name
    patterns: str = RANDOM
    activity: float = 0.0
    self_coupling: bool = False
    thresholds: str = OWN
    margin: float = 0.0
    max_passes: int = 0
    degree: int = COUPLINGS

    def __post_init__(self) -> None:
        as_choice("rule", self.rule, tuple(RULES))
        if not re.fullmatch(f"{RANDOM}|{NAMES}|{FUNCTIONS}", self.patterns):
            raise ValueError(
                f'patterns is {shown(self.patterns)}; a definition has "{RANDOM}", "{ARRAY}..." or the name '
                "of a function"
            )
        number("activity", self.activity, 0, 1, closed=True)
        object.__setattr__(self, "self_coupling", bool(as_int("self_coupling", +self.self_coupling, 0, 1)))
        if not re.fullmatch(f"{OWN}|{NAMES}|{NUMBER}", self.thresholds):
            raise ValueError(
                f'thresholds is {shown(self.thresholds)}; a definition has "{OWN}", "{ARRAY}..." or a number'
            )
        number("margin", self.margin, 0, closed=True)
        as_int("max_passes", self.max_passes, 0, 2**31 - 1)
        read_degree(self.power)
        if self.is_dense and not (
            self.rule == HEBB.name and self.thresholds == OWN and not self.self_coupling
        ):
            raise ValueError(
                f'degree is {self.power}; it goes with rule="hebb" without self-coupling and thresholds'
            )
        if self.is_sequence and self.thresholds != OWN:
            raise ValueError(f'thresholds is {shown(self.thresholds)}; studies of rule="sequence" take none')

    def __repr__(self) -> str:
        values = [(field, getattr(self, field.name)) for field in fields(self)]
        needed = [repr(value) for field, value in values if field.default is MISSING]
        other = [f"{f.name}={v!r}" for f, v in values if f.default is not MISSING and v != f.default]
        return f"{type(self).__name__}({', '.join(needed + other)})"

    @property
    def power(self) -> Degree:
        """The degree as `DenseMemory` takes it."""
        return EXPONENTIAL if self.degree == NO_POWER else self.degree

    @property
    def is_dense(self) -> bool:
        """Whether the networks are dense memories, which have no couplings."""
        return self.degree != COUPLINGS

    @property
    def is_sequence(self) -> bool:
        """Whether recall goes on from each memory to the next, the first after the last.

        It makes all sweeps, and is compared with the memory due then, max_sweeps places later.
        """
        return self.rule == SEQUENCE.name

    def require_update(self, update: Update) -> None:
        """Raise ValueError for updates that are no recall of these networks.

        Parameters
        ----------
        update : {"async", "sync"}
            How recall updates the units.
        """
        if self.is_sequence and update != "sync":
            raise ValueError(
                f'update is "{update}"; rule="sequence" goes from memory to memory if all units are updated '
                'at once, give update="sync"'
            )

    def sweeps(self, update: Update, max_sweeps: int, temperature: float = 0.0) -> str:
        """How recall runs, in words.

        Parameters
        ----------
        update : {"async", "sync"}
            How it updates the units.
        max_sweeps : int
            Most sweeps.
        temperature : float
            Temperature of Glauber's dynamics.

        Returns
        -------
        str
            A phrase.
        """
        most = "" if self.is_sequence or temperature else "at most "
        heat = f" at temperature {temperature:g}" if temperature else ""
        due = ", compared with the memory due then" if self.is_sequence else ""
        return f"{update} updates{heat}, {most}{max_sweeps} sweeps{due}"

    @property
    def is_plain(self) -> bool:
        """Whether the networks are those of theory: Hebb's rule, unbiased random patterns, nothing else."""
        return all(getattr(self, name) == default for name, default in DEFAULTS.items())

    def arguments(self, given: Given) -> dict[str, Any]:
        """Arguments of `HopfieldNetwork`, and of `read_setting`, of networks with couplings."""
        thresholds: Any = given.thresholds
        if thresholds is None and self.thresholds != OWN:
            thresholds = float(self.thresholds)
        options = {name: getattr(self, name) for name in RULES[self.rule].options if name in DEFAULTS}
        return {"self_coupling": self.self_coupling, "rule": self.rule, "thresholds": thresholds, **options}

    def require(self, n: int, p: int, given: Given) -> None:
        """Raise ValueError if networks of n units cannot be, or cannot hold p patterns."""
        read_setting(n, **self.arguments(given))
        if self.is_dense:
            Interaction(n, self.power).require(p)

    def network(self, n: int, given: Given, backend: Backend) -> HopfieldNetwork | DenseMemory:
        """A network of n units that holds nothing."""
        if self.is_dense:
            return DenseMemory(n, self.power, backend=backend)
        return HopfieldNetwork(n, backend=backend, **self.arguments(given))

    def memories(self, given: Given, seed: int, n: int, trial: int, p: int, backend: str) -> Any:
        """The first p patterns of a trial, packed (p, w); random ones are of that network of the seed."""
        if self.patterns == RANDOM:
            below = draws_below(self.activity or None)
            return draw_patterns(stream_key(seed, n), trial, 1, p, n, backend, below)[0]
        return pack_states(given.draw(seed, n, trial, p), backend)

    @property
    def networks(self) -> str:
        """What the networks are, to end a phrase with; nothing where `is_plain`."""
        if self.is_plain:
            return ""
        told = []
        if self.activity:
            told.append(f"{'patterns of ' * (self.patterns == RANDOM)}activity {self.activity:g}")
        if self.patterns != RANDOM:
            told.append(f"patterns {described('of', self.patterns, 'drawn by ')}")
        if self.self_coupling:
            told.append("self-coupling")
        if self.thresholds != OWN:
            told.append(f"thresholds {described('of', self.thresholds)}")
        if self.max_passes:
            told.append(f"margin {self.margin:g} in at most {self.max_passes} passes")
        kind = f"networks of the rule {self.rule}"
        if self.is_dense:
            exponential = self.power == EXPONENTIAL
            kind = "exponential dense memories" if exponential else f"dense memories of degree {self.degree}"
        return f" in {kind}{' with ' * bool(told)}{', '.join(told)}"


DEFAULTS = {name: getattr(EnsembleDefinition, name) for name in EnsembleDefinition.__dataclass_fields__}
"""Every field of the definition and its default."""


def described(of: str, name: str, before: str = "") -> str:
    """The name of an array in words, of which the first digits of the hash suffice, or another name."""
    if name.startswith(ARRAY):
        return f"{of} the array with SHA-256 {name.removeprefix(ARRAY)[:12]}..."
    return before + name


class Given(NamedTuple):
    """What the names in an `EnsembleDefinition` stand for: it goes with the tasks, wherever they run.

    Attributes
    ----------
    patterns : ndarray of int8 (P, n) or (T, P, n), function or None
        Patterns to take from, or what draws them; None for random ones.
    thresholds : ndarray of float64 (n,) or None
        None where the definition has a number.
    """

    patterns: Any = None
    thresholds: NDArray[np.float64] | None = None

    def require(self, n: int, trials: int, p: int) -> None:
        """Raise ValueError unless there are p patterns of n units for each of the trials."""
        if isinstance(self.patterns, np.ndarray):
            *networks, held, units = self.patterns.shape
            if units != n or held < p or (networks and networks[0] < trials):
                raise ValueError(
                    f"patterns has shape {self.patterns.shape}; {trials} networks of n = {n} units and "
                    f"p = {p} patterns take ({p}, {n}) or ({trials}, {p}, {n}), or more patterns or networks"
                )
        elif self.patterns is not None:
            self.draw(0, n, 0, p)

    def draw(self, seed: int, n: int, trial: int, p: int) -> NDArray[np.int8]:
        """The first p patterns (p, n) of a trial, from an array or a function.

        Patterns (P, n) come in an order of their own in each trial, that of sweep 0 of step 0 of the network.
        """
        if not isinstance(self.patterns, np.ndarray):
            with uninterrupted():  # or NumPy may leave its warnings switched off
                generator = np.random.default_rng((seed, n, trial))
            found = self.patterns(generator, p, n)
            states = as_states(f"what patterns returns for p = {p}, n = {n}", found)
            if states.shape != (p, n):
                raise ValueError(
                    f"patterns returns shape {states.shape} for p = {p}, n = {n}; it must be ({p}, {n})"
                )
            return states
        if self.patterns.ndim == 3:
            return self.patterns[trial, :p]
        order = np.empty(len(self.patterns), dtype=np.int32)
        kernels("random", "reference").random_order(stream_key(seed, n), trial, 0, 0, order)
        return self.patterns[order[:p]]


def read_ensemble(
    rule: RuleName,
    patterns: States | Draw | None,
    activity: float | None,
    self_coupling: bool,
    thresholds: ArrayLike | None,
    margin: float | None,
    max_passes: int | None,
    degree: Degree,
) -> tuple[dict[str, Any], Given]:
    """The fields of an `EnsembleDefinition`, and what they name, from the arguments of a study."""
    share = activity if rule == "covariance" else None  # of the patterns alone for other rules
    array = None if thresholds is None else read_numbers("thresholds", thresholds)
    self_coupling, n = as_bool("self_coupling", self_coupling), 1 if array is None else max(1, array.size)
    setting = read_setting(
        n, self_coupling, rule, array, activity=share, margin=margin, max_passes=max_passes
    )
    fields: dict[str, Any] = {"rule": setting.rule.name, "self_coupling": self_coupling}
    power = read_degree(degree)
    fields["degree"] = NO_POWER if power == EXPONENTIAL else power
    fields |= {name: setting.options[name] for name in ("margin", "max_passes") if name in setting.options}
    given = Given()
    if callable(patterns):
        fields["patterns"], given = name_of_function(patterns), Given(patterns)
    elif patterns is not None:
        states = as_states("patterns", patterns)
        if states.ndim not in (2, 3):
            raise ValueError(f"patterns has shape {states.shape}; give (P, n), or (trials, P, n)")
        fields["patterns"], given = name_of_array(states), Given(states)
    if activity is not None:
        if patterns is not None and share is None:
            raise ValueError(
                f"activity is {shown(activity)}, that of random patterns, and patterns are given; give one"
            )
        fields["activity"] = number("activity", activity, 0, 1)
    if array is not None and array.ndim:
        numbers = array.astype(np.float64)
        fields["thresholds"], given = name_of_array(numbers), given._replace(thresholds=numbers)
    elif array is not None and (array != 0 or rule == "covariance"):  # those of other rules are 0
        fields["thresholds"] = repr(float(array))
    return fields, given


def as_states(name: str, value: States) -> NDArray[np.int8]:
    """`value` as states (..., n) of NumPy, int8 and contiguous, or ValueError."""
    states = value.unpack() if isinstance(value, PackedStates) else check_states(name, value)
    return np.ascontiguousarray(move(states, "cpu"))


def name_of_array(array: NDArray[Any]) -> str:
    """ "sha256:" and the hash of the text of the shape and of the values in C order."""
    return ARRAY + hashlib.sha256(str(array.shape).encode() + array.tobytes()).hexdigest()


def name_of_function(function: Draw) -> str:
    """ "module.function"; ValueError unless a process that knows this name alone finds the function."""
    module, name = getattr(function, "__module__", ""), getattr(function, "__qualname__", "")
    try:
        found: Any = functools.reduce(getattr, name.split("."), sys.modules[module])
        if found is function:
            return f"{module}.{name}"
    except (AttributeError, KeyError, TypeError):
        pass
    raise ValueError(
        f"patterns is {shown(function)}, which cannot be imported by its name; give a function that is "
        "defined with def at the top of a module"
    )
