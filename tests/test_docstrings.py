"""Public docstrings are numpydoc: they document the arguments that there are, and their examples run."""

from __future__ import annotations

import builtins
import dataclasses
import doctest
import functools
import importlib.util
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastrec

# Sections in numpydoc's order; those of ENTRIES list "name : type", each with an indented description.
SECTIONS = ("Parameters", "Attributes", "Returns", "Yields", "Raises", "Warns", "See Also", "Notes")
SECTIONS += ("References", "Examples")
ENTRIES = ("Parameters", "Attributes", "Returns", "Yields", "Raises", "Warns")
RETURNS_NOTHING = ("None", "NoReturn")
OPTIONAL_LIBRARIES = {
    "torch": "torch",
    "onnx": "onnx",
    "HersheyFonts": "synthetic_handwriting",
    "pandas": "to_frame",
    "pyarrow": r"\.parquet",
}  # by what needs them


def public_objects() -> dict[str, Any]:
    """Functions, classes and modules under their public names, the shortest where there are several."""
    rooms = [fastrec, fastrec.plot, fastrec.hopfield, fastrec.rnn, fastrec.text, fastrec.tasks]
    rooms += [getattr(fastrec, name) for name in ("onnx", "torch") if importlib.util.find_spec(name)]
    names = {f"{room.__name__}.{name}": getattr(room, name) for room in rooms for name in room.__all__}
    names |= {f"fastrec.theory.{name}": getattr(fastrec.theory, name) for name in fastrec.theory.__all__}
    found = {id(value): (name, value) for name, value in reversed(names.items()) if callable(value)}
    return dict(sorted(found.values()))


PUBLIC = public_objects()


def members(kind: type) -> Iterator[tuple[str, Any]]:
    """Public methods and properties of a class, also of its bases in fastrec."""
    names = {
        name: value
        for base in reversed(kind.__mro__)
        if base.__module__.startswith("fastrec")
        for name, value in vars(base).items()
        if not name.startswith("_")
    }
    for name, value in names.items():
        value = getattr(value, "__func__", value)  # of class methods and static ones
        if inspect.isfunction(value) or isinstance(value, property | functools.cached_property):
            yield name, value


def documented(name: str) -> Iterator[tuple[str, Any]]:
    """A public object and what it consists of."""
    yield name, PUBLIC[name]
    if inspect.isclass(PUBLIC[name]):
        for member, value in members(PUBLIC[name]):
            yield f"{name}.{member}", value


def parse(text: str) -> tuple[str, dict[str, str]]:
    """The summary, and the text of each section; ValueError where it is not numpydoc."""
    head, *parts = re.split(r"^(?=\S.*\n-{3,}$)", text, flags=re.MULTILINE)
    summary = head.split("\n\n")[0].strip()
    if not re.match(r"\S.*\.$", summary, re.DOTALL):
        raise ValueError(f"the summary is no sentence that ends with a full stop: {summary!r}")
    sections: dict[str, str] = {}
    for part in parts:
        title, underline, *lines = part.rstrip().split("\n")
        if len(underline) != len(title) or title not in SECTIONS or title in sections:
            raise ValueError(f"section {title!r} is unknown, twice there or wrongly underlined")
        if not "".join(lines).strip():
            raise ValueError(f"section {title!r} is empty")
        sections[title] = "\n".join(lines).strip("\n")
    if list(sections) != [title for title in SECTIONS if title in sections]:
        raise ValueError(f"sections are not in the order {', '.join(SECTIONS)}: {', '.join(sections)}")
    return summary, sections


def entries(section: str) -> list[str]:
    """Heads of the entries of a section; ValueError unless each has an indented description."""
    found = re.split(r"\n(?=\S)", section)
    for entry in found:
        if not re.fullmatch(r"\S.*(\n\n?    .*)+", entry):
            raise ValueError(f"an entry has no indented description, or lines between entries: {entry!r}")
    return [entry.partition("\n")[0] for entry in found]


def names_of(heads: list[str]) -> list[str]:
    return [name for head in heads for name in head.partition(" : ")[0].split(", ")]


def arguments(value: Any) -> list[str]:
    """Names in the signature, as numpydoc writes them, without self or cls."""
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    parameters = inspect.signature(value).parameters.values()
    names = [stars.get(parameter.kind, "") + parameter.name for parameter in parameters]
    names = names[1:] if names[:1] in (["self"], ["cls"]) else names
    return [name for name in names if not name.startswith("_")]  # fields of results that are their own


def check(value: Any) -> None:
    """Raise ValueError unless the docstring of a function, class, method or property is numpydoc."""
    text = inspect.getdoc(value)
    if not text:
        raise ValueError("there is no docstring")
    _, sections = parse(text)
    heads = {title: entries(section) for title, section in sections.items() if title in ENTRIES}
    if isinstance(value, property | functools.cached_property):
        return
    known = [] if isinstance(value, type) and issubclass(value, Exception) else arguments(value)
    told = names_of(heads.get("Parameters", []))
    if dataclasses.is_dataclass(value) and "Parameters" not in heads:  # results: others do not make them
        told = names_of(heads.get("Attributes", []))
    if told != known:
        raise ValueError(f"documented are {told}, the arguments are {known}")
    if inspect.isfunction(value):
        nothing = str(value.__annotations__.get("return", "None")).strip("'\"") in RETURNS_NOTHING
        if nothing == bool(heads.keys() & {"Returns", "Yields"}):
            raise ValueError("a section Returns is missing, or nothing is returned")
    for head in names_of(heads.get("Raises", []) + heads.get("Warns", [])):
        error = getattr(builtins, head, None) or getattr(fastrec, head.removeprefix("fastrec."), None)
        if not (isinstance(error, type) and issubclass(error, BaseException)):
            raise ValueError(f"Raises names {head!r}, which is no exception")
    alone = inspect.isclass(value) or "." not in value.__qualname__
    if (alone or "Examples" in sections) and ">>> " not in sections.get("Examples", ""):
        raise ValueError("there is no example")


def test_parser_notices() -> None:
    def function(a: int, *, b: str = "") -> int:
        """Return what is given.

        Parameters
        ----------
        a : int
            One.
        b : str, default ""
            Another,

            at length.

        Returns
        -------
        int
            The first.

        Raises
        ------
        ValueError
            Never.

        Examples
        --------
        >>> 1 + 1
        2
        """
        return a

    check(function)
    good = inspect.getdoc(function) or ""
    for old, new in (
        ("given.", "given"),
        ("a : int", "c : int"),
        ("a : int", "a, b : int"),
        ("    One.", "One."),
        ("Returns\n-------", "Returns\n------"),
        ("Returns\n-------", "Return\n------"),
        ("Raises\n------", "Returns\n-------"),
        ("Returns\n-------\nint\n    The first.\n\n", ""),
        ("ValueError", "If it fails"),
        (">>> 1 + 1", "1 + 1"),
        ("b : str", "a : int\n    One.\nb : str"),
    ):
        function.__doc__ = good.replace(old, new, 1)
        assert function.__doc__ != good
        with pytest.raises(ValueError, match=r"\w"):
            check(function)


@pytest.mark.parametrize("name", PUBLIC)
def test_docstrings_are_numpydoc(name: str) -> None:
    problems = []
    for part, value in documented(name):
        try:
            check(value)
        except ValueError as error:
            problems.append(f"{part}: {error}")
    assert not problems, "\n".join(problems)


def test_public_modules_say_what_they_are() -> None:
    for module in (fastrec, *(getattr(fastrec, name) for name in fastrec.__all__)):
        if inspect.ismodule(module):
            assert parse(inspect.getdoc(module) or ""), module


EXAMPLES = {
    part: text
    for name in PUBLIC
    for part, value in documented(name)
    if ">>> " in (text := inspect.getdoc(value) or "")
}


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for library, use in OPTIONAL_LIBRARIES.items():
        if re.search(use, EXAMPLES[name]):
            pytest.importorskip(library)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FASTREC_BACKEND", "cpu")
    monkeypatch.setenv("FASTREC_QUIET", "1")
    monkeypatch.setattr("fastrec.backend._default", None)  # examples may set it; this restores it
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    test = doctest.DocTestParser().get_doctest(EXAMPLES[name], {"np": np, "fastrec": fastrec}, name, None, 0)
    said: list[str] = []
    with np.printoptions(precision=8, threshold=1000, linewidth=75, suppress=False, floatmode="maxprec"):
        doctest.DocTestRunner(optionflags=flags).run(test, out=said.append)
    assert not said, "".join(said)


def test_units_are_called_units() -> None:
    """In docstrings, messages, tables and on axes; pages on neuroscience may have both words."""
    for path in Path(fastrec.__file__).parent.rglob("*.py"):
        text = path.read_text(encoding="utf-8").replace('"one_neuron"', "")  # a figure of that name
        assert "neuron" not in text.lower() or "kernels" in path.parts, path
