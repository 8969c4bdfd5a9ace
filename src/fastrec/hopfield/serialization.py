"""Files of memories: NumPy .npz archives of packed patterns, or couplings, and of a JSON text."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from ..archives import Archive, open_archive, read_arrays, read_text, sizes_of, write_archive
from ..files import require_suffix
from ..kernels import words
from ..validation import as_bool, as_int, number
from .arguments import READERS, RuleName, read_setting, read_shape, read_thresholds, read_weights
from .interaction import Degree, Interaction, read_degree
from .packed import PackedPatterns
from .rules.given import GIVEN
from .rules.rule import Learnt, Rule
from .states import MAX_UNITS, Coding, read_coding
from .stored import Setting, StoredPatterns, complete

TEXT, DENSE_TEXT = "fastrec_hopfield", "fastrec_dense"  # the arrays that hold the texts


@dataclass
class Description:
    """What the text of a file says."""

    n: int
    rule: str
    options: dict[str, Any]
    self_coupling: bool
    coding: str
    shape: list[int] | None
    p: int
    networks: int | None
    thresholds: bool
    couplings: str | None
    scale: float


@dataclass
class DenseDescription:
    """What the text of the file of a dense memory says."""

    n: int
    degree: int | str
    coding: str
    shape: list[int] | None
    p: int
    networks: int | None


def is_data(rule: Rule, p: int) -> bool:
    """Whether the couplings do not follow, to the bit, from the p patterns."""
    return rule is GIVEN or (not rule.exact and p > 0)


def save(
    path: str | os.PathLike[str], stored: StoredPatterns, coding: str, shape: tuple[int, ...] | None
) -> None:
    """Write the patterns of a network on the host; couplings too where they are data."""
    require_suffix(path, ".npz")
    setting, given = stored.setting, stored.learnt if is_data(stored.rule, stored.p) else None
    options = {
        name: value if isinstance(value, int) else float(value) for name, value in setting.options.items()
    }
    arrays: dict[str, Any] = {"patterns": stored.packed(), "weights": stored.counts}
    if setting.thresholds is not None:
        arrays["thresholds"] = setting.thresholds
    if given is not None:
        arrays["couplings"] = given.weights
    description = Description(
        n=stored.n,
        rule=stored.rule.name,
        options=options,
        self_coupling=setting.self_coupling,
        coding=coding,
        shape=None if shape is None else list(shape),
        p=stored.p,
        networks=stored.lead[0] if stored.lead else None,
        thresholds=setting.thresholds is not None,
        couplings=None if given is None else given.weights.dtype.name,
        scale=1.0 if given is None else given.scale,
    )
    write_archive(path, {TEXT: vars(description)}, arrays)


def load(path: str | os.PathLike[str]) -> tuple[StoredPatterns, Coding, tuple[int, ...] | None]:
    """Read a network: its patterns on the host, its coding and the shape of its states."""
    with open_archive(path, "network of Hopfield") as archive:
        text = sizes_of(Description, read_text(archive, TEXT, "Hopfield network file"))
        arrays, (n, p, k) = read_patterns(archive, text)
        arrays |= read_arrays(archive, {"weights": (p,)}, np.dtype(np.int64))
        if as_bool("thresholds", text.thresholds):
            arrays |= read_arrays(archive, {"thresholds": (n,)}, np.dtype(np.float64))
        if text.couplings is not None:
            if text.couplings not in ("int8", "int16", "int32", "int64"):
                raise ValueError("damaged, its couplings are of another dtype")
            arrays |= read_arrays(archive, {"couplings": (k, n, n)}, np.dtype(text.couplings))
        if archive.members.keys() != {TEXT, *arrays}:
            raise ValueError(f"damaged, its arrays should be {', '.join(arrays)}")
        packed, counts = arrays["patterns"], arrays["weights"]
        setting = read_description(text, arrays.get("thresholds"))
        lead = None if not p and text.couplings is None else () if text.networks is None else (k,)
        stored = StoredPatterns(setting, np.empty((k, 0, words(n)), dtype=np.uint64), 0, lead)
        if p:
            counts = read_weights(counts, p, setting.rule)
            stored = stored.extended(packed, counts, lead or (), "cpu")
        if (text.couplings is not None) != is_data(setting.rule, p):
            raise ValueError("damaged, its rule goes with couplings or without")
        if text.couplings is not None:
            scale = number("scale", text.scale, 0)
            stored.learnt = complete(setting, Learnt(arrays["couplings"], scale), "cpu")
        shape = None if text.shape is None else read_shape(text.shape, n)
        return stored, read_coding(text.coding), shape


def read_patterns(
    archive: Archive, text: Description | DenseDescription
) -> tuple[dict[str, Any], tuple[int, int, int]]:
    """The array of the packed patterns, by its name, and n, p and the number of networks."""
    n, p = as_int("n", text.n, 1, MAX_UNITS), as_int("p", text.p, 0, 2**31 - 1)
    k = 1 if text.networks is None else as_int("networks", text.networks, 1, 2**31 - 1)
    arrays = read_arrays(archive, {"patterns": (k, p, words(n))}, np.dtype(np.uint64))
    if n % 64 and (arrays["patterns"][..., -1] >> np.uint64(n % 64)).any():
        raise ValueError(f"damaged, its patterns have bits past unit {n}")
    return arrays, (n, p, k)


def read_description(text: Description, thresholds: Any) -> Setting:
    """The setting that a file describes."""
    options = dict.fromkeys(READERS) | text.options
    self_coupling = as_bool("self_coupling", text.self_coupling)
    if text.rule == GIVEN.name:
        return Setting(text.n, GIVEN, self_coupling, {}, read_thresholds(thresholds, text.n, False))
    return read_setting(text.n, self_coupling, cast(RuleName, text.rule), thresholds, **options)


def save_dense(
    path: str | os.PathLike[str],
    stored: PackedPatterns,
    degree: Degree,
    coding: str,
    shape: tuple[int, ...] | None,
) -> None:
    """Write the patterns of a dense memory on the host."""
    require_suffix(path, ".npz")
    description = DenseDescription(
        n=stored.n,
        degree=degree,
        coding=coding,
        shape=None if shape is None else list(shape),
        p=stored.p,
        networks=stored.lead[0] if stored.lead else None,
    )
    write_archive(path, {DENSE_TEXT: vars(description)}, {"patterns": stored.packed()})


def load_dense(
    path: str | os.PathLike[str],
) -> tuple[PackedPatterns, Degree, Coding, tuple[int, ...] | None]:
    """Read a dense memory: its patterns on the host, its degree, its coding and the shape of its states."""
    with open_archive(path, "dense memory") as archive:
        text = sizes_of(DenseDescription, read_text(archive, DENSE_TEXT, "file of a dense memory"))
        arrays, (n, p, k) = read_patterns(archive, text)
        if archive.members.keys() != {DENSE_TEXT, *arrays}:
            raise ValueError(f"damaged, its arrays should be {', '.join(arrays)}")
        degree = read_degree(text.degree)
        Interaction(n, degree).require(max(p, 1))
        lead = None if not p else () if text.networks is None else (k,)
        shape = None if text.shape is None else read_shape(text.shape, n)
        return PackedPatterns(n, arrays["patterns"], p, lead), degree, read_coding(text.coding), shape
