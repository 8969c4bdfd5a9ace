"""Imports by name: public names when they are first used, and modules from where version 0.1.0 had them."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import resolve_name, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

# Modules of version 0.1.0 whose names are elsewhere now, and where: pickles and users still name them.
MOVED = {
    "arguments": ("validation",),
    "hopfield.capacity": ("hopfield.storage_capacity.run",),
    "hopfield.executors": ("jobs.executors",),
    "hopfield.network": ("hopfield.oscillation",),
    "hopfield.patterns": ("hopfield.states",),
    "hopfield.results": (
        "hopfield.storage_capacity.definition",
        "hopfield.storage_capacity.result",
        "hopfield.storage_capacity.statistics",
    ),
    "hopfield.runs": ("jobs.store", "jobs.schema", "jobs.export"),
    "rnn.addition": ("tasks.addition",),
    "rnn.encoder_decoder": ("text.encoder_decoder", "text.pairs"),
    "rnn.files": ("rnn.serialization", "archives"),
    "rnn.initial": ("rnn.initialization",),
    "rnn.inputs": ("rnn.validation", "rnn.losses"),
    "rnn.labels": ("rnn.classification",),
    "rnn.layers": ("rnn.network", "rnn.trace"),
    "rnn.ngrams": ("text.ngrams",),
    "rnn.optim": ("rnn.optimizers",),
    "rnn.place": ("rnn.device",),
    "rnn.sequences": ("rnn.dataset",),
    "rnn.text": ("text.language_model", "text.training", "text.example"),
    "rnn.training": ("rnn.fitting", "rnn.truncation", "rnn.loop"),
    "rnn.vocabulary": ("text.vocabulary",),
}


def import_when_used(
    package: str, *others: str
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return ``__getattr__``, ``__dir__`` and ``__all__`` of a package that import its names on first use.

    The names are those that ``__init__.pyi`` of the package imports, the list for type checkers too, and
    `others`, which the package itself defines.
    """
    module = sys.modules[package]
    origins: dict[str, str] = {}
    for node in ast.parse(Path(str(module.__file__)).with_suffix(".pyi").read_text()).body:
        if isinstance(node, ast.ImportFrom):
            source = resolve_name("." * node.level + (node.module or ""), package)
            for alias in node.names:
                names = importlib.import_module(source).__all__ if alias.name == "*" else [alias.name]
                origins |= dict.fromkeys(names, source)

    class Package(ModuleType):
        def __setattr__(self, name: str, value: object) -> None:
            # Importing the old place fastrec.hopfield.capacity must not hide the function of that name.
            if not (isinstance(value, ModuleType) and origins.get(name, package) != package):
                super().__setattr__(name, value)

    def get(name: str) -> Any:
        if name not in origins:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        source = origins[name]
        if source == package:
            return importlib.import_module(f"{package}.{name}")
        value = getattr(importlib.import_module(source), name)
        vars(module)[name] = value
        return value

    module.__class__ = Package
    names = sorted({*origins, *others})
    return get, lambda: names, names


def accept_old_places() -> None:
    """Make the modules of `MOVED` importable under their old names."""
    if not any(isinstance(finder, OldPlaces) for finder in sys.meta_path):
        sys.meta_path.append(OldPlaces())


class OldPlaces(MetaPathFinder, Loader):
    """Finds the modules of `MOVED` under their old names."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        moved = name.removeprefix("fastrec.") in MOVED and name.startswith("fastrec.")
        return spec_from_loader(name, self) if moved else None

    def exec_module(self, module: ModuleType) -> None:
        module.__getattr__ = names_from_new_places(module.__name__)  # type: ignore[method-assign]


def names_from_new_places(module: str) -> Callable[[str], Any]:
    """Return a ``__getattr__`` of a module that finds names in the new places that `MOVED` gives."""

    def get(name: str) -> Any:
        for place in MOVED[module.removeprefix("fastrec.")]:
            try:
                return getattr(importlib.import_module(f"fastrec.{place}"), name)
            except AttributeError:
                pass
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return get
