"""The public names of the fastrec that Python imports, and how they are called."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any

import fastrec
import fastrec.plot


def public() -> dict[str, Any]:
    """The public functions and classes by name, those of fastrec.theory and fastrec.plot with that before."""
    theory = {f"theory.{name}": value for name, value in vars(fastrec.theory).items() if name[0].islower()}
    mine = {name: value for name, value in theory.items() if inspect.isfunction(value)}
    mine = {name: value for name, value in mine.items() if value.__module__ == fastrec.theory.__name__}
    plots = {f"plot.{name}": getattr(fastrec.plot, name) for name in fastrec.plot.__all__}
    flat = {name: getattr(fastrec, name) for name in fastrec.__all__}
    return {name: value for name, value in {**flat, **mine, **plots}.items() if callable(value)}


def properties(kind: type[Any]) -> list[str]:
    """Names of the public fields and properties of a class."""
    known = (property, functools.cached_property)
    found = [name for name, value in inspect.getmembers_static(kind) if isinstance(value, known)]
    if dataclasses.is_dataclass(kind):
        found += [field.name for field in dataclasses.fields(kind)]
    return [name for name in found if not name.startswith("_")]


def parameters(function: Callable[..., Any]) -> list[dict[str, str | None]]:
    """Defaults by name, None where there is none: of parameters by position or name, and of those by name.

    Parameters that begin with an underscore, of results that only fastrec makes, are not public.
    """
    by_position: dict[str, str | None] = {}
    by_name: dict[str, str | None] = {}
    for p in inspect.signature(function).parameters.values():
        if p.name.startswith("_"):
            continue
        marks = {p.POSITIONAL_ONLY: "{}/", p.VAR_POSITIONAL: "*{}", p.VAR_KEYWORD: "**{}"}
        into = by_name if p.kind == p.KEYWORD_ONLY else by_position
        into[marks.get(p.kind, "{}").format(p.name)] = None if p.default is p.empty else repr(p.default)
    return [by_position, by_name]


def signatures() -> dict[str, Any]:
    """`parameters` of every public function and method, None for fields, properties and exceptions."""
    found: dict[str, Any] = {}
    for name, value in sorted(public().items()):
        if not inspect.isclass(value):
            found[name] = parameters(value)
            continue
        found[name] = None if issubclass(value, Exception) else parameters(value)
        found |= {f"{name}.{member}": None for member in properties(value)}
        for member, method in inspect.getmembers(value, callable):
            if not member.startswith("_") and str(getattr(method, "__module__", None)).startswith("fastrec"):
                found[f"{name}.{member}"] = parameters(method)
    return found
