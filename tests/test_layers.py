"""Which module may import which: kernels know nothing of public code, and no imports run in circles."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from importlib.util import resolve_name
from pathlib import Path

import pytest

import fastrec

ROOT = Path(fastrec.__file__).parent
MODULES = {".".join(path.relative_to(ROOT.parent).with_suffix("").parts): path for path in ROOT.rglob("*.py")}


def module_level(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes below one that are not in functions: what importing a module and checking its types reads."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield child
            yield from module_level(child)


def imports(name: str, everywhere: bool) -> set[str]:
    """Modules of fastrec that a module imports: everywhere, or at module level."""
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    package = name.removesuffix(".__init__") if name.endswith(".__init__") else name.rpartition(".")[0]
    imported = set()
    for node in ast.walk(tree) if everywhere else module_level(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            source = resolve_name("." * node.level + (node.module or ""), package)
            places = {alias.name: f"{source}.{alias.name}" for alias in node.names}
            imported |= {place if is_module(place) else source for place in places.values()}
    return {place for place in imported if place.partition(".")[0] == "fastrec"}


def is_module(place: str) -> bool:
    return place in MODULES or f"{place}.__init__" in MODULES


def in_kernels(name: str) -> bool:
    return name.startswith("fastrec.kernels.")


@pytest.mark.parametrize("name", [name for name in MODULES if in_kernels(name)])
def test_kernels_import_no_public_code(name: str) -> None:
    assert all(place == "fastrec.kernels" or in_kernels(place) for place in imports(name, everywhere=True))


@pytest.mark.parametrize("name", [name for name in MODULES if not in_kernels(name)])
def test_public_code_selects_the_reference_by_the_switch(name: str) -> None:
    assert not any(place.startswith("fastrec.kernels.reference") for place in imports(name, everywhere=True))


def test_the_compiler_of_kernels_imports_no_kernel() -> None:
    beside = {"fastrec.kernels.interruption"}
    ours = {"fastrec.kernels.compilation", "fastrec.kernels.cpu.cache", *beside}
    assert imports("fastrec.kernels.cpu.jit", everywhere=True) == ours
    assert imports("fastrec.kernels.cpu.cache", everywhere=True) == beside
    assert all(imports(name, everywhere=True) == set() for name in beside)


def test_no_imports_run_in_a_circle() -> None:
    """At module level and in blocks for type checkers; functions may import what imports their module."""
    graph = {name: imports(name, everywhere=False) & MODULES.keys() for name in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"imports run in a circle: {' -> '.join(error.args[1])}")
