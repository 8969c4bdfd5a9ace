"""What the real CuPy offers, asked in a process of its own: this one may have the stand-in in its place.

``python real_cupy.py`` reads dotted names, one a line, and writes what it finds as JSON.
"""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def ask(names: list[str]) -> dict[str, Any]:
    """What CuPy has of the dotted names, each as `describe` says; "attributes" are those of its devices.

    Empty if CuPy is not installed.
    """
    command = [sys.executable, "-W", "error", str(Path(__file__)), "cupy"]
    done = subprocess.run(command, input="\n".join(names), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def resolve(name: str) -> Any:
    """The object of a dotted name; a module in it is imported where it must be."""
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
    found = {}
    if importlib.util.find_spec("cupy"):
        for name in sys.stdin.read().split():
            with contextlib.suppress(AttributeError, ImportError):
                found[name] = describe(resolve(name))
        runtime = resolve("cupy.cuda.runtime")
        prefix = "cudaDevAttr"
        found["attributes"] = [key.removeprefix(prefix) for key in dir(runtime) if key.startswith(prefix)]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
