"""Every name of CuPy that fastrec uses, or that the emulator's stand-in offers, exists in the real CuPy.

The real one can be imported where there is no card and no driver: pip install ".[emulation]".
"""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import emulator
import numpy as np
import pytest
import real_cupy

import fastrec

TESTS = Path(__file__).parent
SOURCES = sorted(Path(fastrec.__file__).parent.rglob("*.py"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("cupy") is None, reason='needs CuPy: pip install ".[emulation]"'),
]


def chain(node: ast.AST) -> list[str]:
    """["a", "b", "c"] of the expression a.b.c, where array_module("gpu") is "cupy"; empty for any other."""
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Call) and ast.unparse(node) == "array_module('gpu')":
        return ["cupy"]
    if isinstance(node, ast.Attribute) and (before := chain(node.value)):
        return [*before, node.attr]
    return []


def assigned(node: ast.Assign) -> list[tuple[ast.expr, ast.expr]]:
    """The targets and values of an assignment, of several at once too."""
    pairs = []
    for target in node.targets:
        several = isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple)
        if several and len(target.elts) == len(node.value.elts):
            pairs += zip(target.elts, node.value.elts, strict=True)
        else:
            pairs.append((target, node.value))
    return pairs


def names_used(source: str) -> set[str]:
    """The dotted names of CuPy in a source, also where CuPy or a part of it goes by another name there: that
    of `import ... as`, a variable, or array_module("gpu")."""
    tree = ast.parse(source)
    known = {"cupy": ["cupy"]} if "array_module" in source else {}
    used: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] in ("cupy", "cupyx"):
                    used.add(alias.name)
                    first = alias.name if alias.asname else alias.name.partition(".")[0]
                    known[alias.asname or first] = first.split(".")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in ("cupy", "cupyx"):
            for alias in node.names:
                known[alias.asname or alias.name] = [*node.module.split("."), alias.name]
    for _ in range(3):  # a variable may be assigned to before what it stands for is found
        for node in ast.walk(tree):
            for target, value in assigned(node) if isinstance(node, ast.Assign) else ():
                parts = chain(value)
                if isinstance(target, ast.Name) and parts and parts[0] in known:
                    known[target.id] = [*known[parts[0]], *parts[1:]]
    for node in ast.walk(tree):
        if (parts := chain(node)) and parts[0] in known:
            used.add(".".join([*known[parts[0]], *parts[1:]]))
    return {name for name in used if not name.startswith("cupy.__version__.")}


def names_offered(value: Any, path: str) -> dict[str, Any]:
    """The dotted names of what a namespace or class of the stand-in has, and what they stand for."""
    offered = {f"{path}.{name}": inner for name, inner in vars(value).items() if not name.startswith("_")}
    for name, inner in list(offered.items()):
        if isinstance(inner, SimpleNamespace) or inspect.isclass(inner):
            offered |= names_offered(inner, name)
    return offered


def test_names_in_the_sources_exist() -> None:
    used = set().union(*(names_used(path.read_text()) for path in SOURCES))
    assert {"cupy.cuda.runtime.memGetInfo", "cupy.cuda.cublas.sgemmStridedBatched", "cupy.RawModule"} <= used
    assert "cupy.cuda.driver.occupancyMaxActiveBlocksPerMultiprocessor" in used
    assert not used - real_cupy.ask(sorted(used)).keys()


def test_attributes_of_devices_exist() -> None:
    """Those that the sources ask for, and those that the stand-in has."""
    text = "\n".join(path.read_text() for path in SOURCES)
    asked = set(re.findall(r'attribute\("(\w+)"', text)) | set(re.findall(r'attributes\["(\w+)"\]', text))
    assert {"MultiProcessorCount", "KernelExecTimeout", "CooperativeLaunch"} <= asked
    from emulator import cupy

    known = set(real_cupy.ask([])["attributes"])
    assert not asked - known
    assert not cupy.Device.attributes.keys() - known


def test_constants_in_the_sources_exist() -> None:
    """Those that are asked for by a text, as getattr does."""
    text = "\n".join(path.read_text() for path in SOURCES)
    constants = {f"cupy.cuda.cublas.{name}" for name in re.findall(r'"(CUBLAS_\w+)"', text)}
    constants |= {f"cupy.cuda.runtime.{name}" for name in re.findall(r'"(CUDA_R_\w+)"', text)}
    assert len(constants) >= 4
    assert not constants - real_cupy.ask(sorted(constants)).keys()


def test_the_stand_in_offers_nothing_else() -> None:
    """Names, values of constants, and parameters by position."""
    from emulator import cupy

    # The module also holds what it is made of; of CuPy are namespaces, arrays, and functions that NumPy has.
    top = {name for name in vars(cupy) if hasattr(np, name) and not name.startswith("_")} - {"np"}
    offered = {f"cupy.{name}": getattr(cupy, name) for name in (*top, "asnumpy", "get_default_memory_pool")}
    for name in ("cuda", "lib", "_core", "ndarray", "RawKernel"):
        offered |= names_offered(getattr(cupy, name), f"cupy.{name}")
    real = real_cupy.ask(sorted(offered))
    missing = offered.keys() - real.keys()
    assert not missing
    for name, value in offered.items():
        if isinstance(value, int) and isinstance(real[name], int):
            assert value == real[name], name
        if real[name] and inspect.isfunction(value):
            ours = list(inspect.signature(value).parameters)
            assert ours == real[name][: len(ours)], name


def test_names_are_found_by_whatever_name() -> None:
    source = """
import cupy as cp, cupy.cuda.runtime
from cupy import cuda as c
handle, blas = cp.cuda.device.get(), cp.cuda.cublas
def f():
    runtime = array_module("gpu").cuda.runtime
    runtime.getDevice()
    blas.sgemm(c.Device)
"""
    assert names_used(source) >= {
        "cupy.cuda.device.get",
        "cupy.cuda.runtime.getDevice",
        "cupy.cuda.cublas.sgemm",
        "cupy.cuda.Device",
    }
    assert set(real_cupy.ask(["cupy.empty", "cupy.nothing", "cupy.cuda.Device.nothing"])) == {
        "cupy.empty",
        "attributes",
    }


def run(code: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Code in an interpreter that has the tests' modules and the real CuPy, where warnings are errors."""
    path = os.pathsep.join(
        [str(Path(fastrec.__file__).parents[1]), str(TESTS), os.environ.get("PYTHONPATH", "")]
    )
    return subprocess.run(
        [sys.executable, "-W", "error", *options, "-c", code],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )


def test_a_card_says_where_it_waits_without_a_warning() -> None:
    done = run("import cupy, devices\nwith devices.crossing(): print('in')\nprint('out')")
    assert done.stdout == "in\nout\n", done.stderr


@pytest.mark.skipif(emulator.unavailable_reason() is not None, reason=str(emulator.unavailable_reason()))
def test_the_emulator_takes_the_place_of_a_cupy_that_finds_no_card() -> None:
    """Whoever looks at all modules then, as Hypothesis does, loads no more of the real one."""
    code = """
import sys, warnings, cupy, cupyx, emulator
emulator.install()
warnings.simplefilter("ignore")  # of old names in modules that CuPy loads, such as SciPy's
for module in list(sys.modules.values()):
    getattr(module, "random", None), getattr(module, "cusparse", None)
import cupy
print(cupy.__name__, [name for name in sys.modules if name.startswith(("cupy.", "cupyx", "cupy_backends"))])
"""
    done = run(code)
    assert done.stdout == "emulator.cupy []\n", done.stderr
