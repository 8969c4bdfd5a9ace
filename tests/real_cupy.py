"""What the real CuPy offers, asked in a process of its own: this one may have the stand-in in its place.

``python real_cupy.py`` reads dotted names, one a line, and writes what it finds as JSON.  CuPy's module for
cuBLAS can only be imported where that library is, which takes 0.5 GB; a library of that name whose functions
do nothing serves as well.
"""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any


def ask(names: list[str]) -> dict[str, Any]:
    """What CuPy has of the dotted names, each as `describe` says; "attributes" are those of its devices.

    Empty if CuPy is not installed.
    """
    if not importlib.util.find_spec("cupy"):
        return {}
    with tempfile.TemporaryDirectory() as folder:
        make_cublas(Path(folder))
        command = [sys.executable, "-W", "error", str(Path(__file__)), "cupy"]
        done = subprocess.run(
            command,
            env=os.environ | {"LD_LIBRARY_PATH": folder},
            input="\n".join(names),
            capture_output=True,
            text=True,
            check=True,
        )
    return json.loads(done.stdout)


def make_cublas(folder: Path) -> None:
    """Make libraries with the functions of cuBLAS that CuPy is linked to; they do nothing."""
    (backends,) = importlib.util.find_spec("cupy_backends").submodule_search_locations
    (module,) = Path(backends, "cuda", "libs").glob("cublas.*.so")
    command = ["nm", "--dynamic", "--undefined-only", "--with-symbol-versions", str(module)]
    symbols = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    functions = re.findall(r"(cublas\w+)@(libcublas\.so\.\d+)", symbols)
    (library,) = {name for _, name in functions}
    source, versions = folder / "cublas.c", folder / "versions"
    source.write_text("".join(f"void {function}(void) {{}}\n" for function, _ in functions))
    versions.write_text(f"{library} {{ global: *; }};\n")
    for name in (library, library.replace("cublas", "cublasLt")):
        options = ("-shared", "-fPIC", f"-Wl,-soname,{name}", f"-Wl,--version-script,{versions}")
        subprocess.run(["gcc", *options, "-o", str(folder / name), str(source)], check=True)


def resolve(name: str) -> Any:
    """The object of a dotted name, whose modules are imported."""
    first, *rest = name.split(".")
    value, path = importlib.import_module(first), first
    for part in rest:
        path += f".{part}"
        if not hasattr(value, part) and inspect.ismodule(value):
            importlib.import_module(path)
        value = getattr(value, part)
    return value


def describe(value: Any) -> Any:
    """A number or a text itself, the names of the parameters if Python can tell, else None."""
    if isinstance(value, (int, str)):
        return value
    try:
        return list(inspect.signature(value).parameters)
    except (TypeError, ValueError):  # compiled, or nothing that is called
        return None


def main() -> None:
    answers = {}
    for name in sys.stdin.read().split():
        with contextlib.suppress(AttributeError, ImportError):
            answers[name] = describe(resolve(name))
    runtime, prefix = resolve("cupy.cuda.runtime"), "cudaDevAttr"
    answers["attributes"] = [key.removeprefix(prefix) for key in dir(runtime) if key.startswith(prefix)]
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
