"""Where "gpu" runs under test: on a card, else on the emulator of CUDA, else not at all."""

from __future__ import annotations

import contextlib
import functools
import sys
import warnings
from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import emulator
import numpy as np
import pytest
from emulator import raw

from fastrec.backend import kernels, move, unavailable_reason
from fastrec.rnn.cells import CELLS

DOMAINS = ("hopfield", "capacity", "rnn", "generation", "stepping", "decoding", "reservoir")
CALLED: set[str] = set()

# Whether memory is checked, the order of threads and blocks, its seed.  Short runs mostly use the first.
MODES = {
    "backward": (False, "backward", 0),
    "checked": (True, "random", 0),
    "forward": (False, "forward", 0),
    "random-1": (False, "random", 1),
}


def prepare() -> None:
    """Have CUDA emulated from now on if it does not run here and can be emulated."""
    if unavailable_reason("gpu") is not None and emulator.unavailable_reason() is None:
        emulator.install()
        unavailable_reason.cache_clear()
        emulator.compile_together()


def fault() -> str | None:
    """What keeps "gpu" from running here, a sentence, or None."""
    found = unavailable_reason("gpu")
    return found and "; ".join(filter(None, (found, emulator.unavailable_reason())))


def emulated(backend: str) -> bool:
    """Whether this is a "gpu" that takes about 10 ms a launch."""
    return backend == "gpu" and sys.modules.get("cupy") is sys.modules.get("emulator.cupy")


def to_host(arrays: dict[str, Any]) -> dict[str, np.ndarray]:
    """Arrays by name, such as the parameters of a network, as NumPy's: themselves if they are."""
    return {key: move(array, "cpu") for key, array in arrays.items()}


def compute_tensors_on_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let modules of fastrec.torch compute with copies of tensors of the CPU on "gpu"."""
    import torch

    from fastrec.torch import arrays

    monkeypatch.setattr(arrays, "backend_for", lambda tensor: "gpu")
    monkeypatch.setattr(arrays, "array_of", lambda tensor, backend: move(tensor.detach().numpy(), backend))
    monkeypatch.setattr(arrays, "tensor_of", lambda array: torch.from_numpy(move(array, "cpu")))


@contextlib.contextmanager
def crossing(to_device: int = 0, to_host: int = 0, waits: int = 0) -> Iterator[None]:
    """Asserts what crosses between host and device; on a card, that nothing waits where nothing should."""
    if emulated("gpu"):
        from emulator.cupy import Traffic, traffic

        traffic.reset()
        yield
        assert traffic == Traffic(to_device, to_host, waits)
    elif waits:
        yield
    else:
        import cupyx

        with contextlib.ExitStack() as stack:
            with warnings.catch_warnings(action="ignore"):  # it is deprecated, and nothing replaces it
                stack.enter_context(cupyx.allow_synchronize(False))
            yield


def all_kernels(domain: str, backend: str) -> SimpleNamespace:
    """The kernels of a backend, as they are, "rnn" with those of all cells; `__all__` has their names."""
    modules = [
        kernels(each, backend) for each in (domain, *CELLS, "normalised")[: None if domain == "rnn" else 1]
    ]
    found = {name: getattr(module, name) for module in modules for name in module.__all__}
    return SimpleNamespace(**found, __all__=list(found))


def host_kernels(domain: str, backend: str) -> SimpleNamespace:
    """The kernels of a backend, to be called with NumPy arrays: to the device and back if it is "gpu"."""
    module = all_kernels(domain, backend)

    def counted(name: str) -> Any:
        kernel = getattr(module, name)
        run = called_on_host(kernel) if backend == "gpu" else kernel

        @functools.wraps(kernel)
        def call(*arguments: Any, **options: Any) -> Any:
            value = run(*arguments, **options)
            CALLED.add(f"{backend} {domain}.{name}")
            return value

        return call

    return SimpleNamespace(**{name: counted(name) for name in module.__all__})


def kernels_that_ran() -> set[str]:
    """Kernels of each backend that tests have called by `host_kernels`, and all emulated CUDA kernels."""
    if not emulated("gpu"):
        return CALLED
    from fastrec.kernels.gpu.module import KERNELS, source

    files = {source(file): file for file in KERNELS}
    return CALLED | {f"{files[code]}.cu {name}" for code, name in raw.launched if code in files}


def kernels_to_run(backends: Iterable[str]) -> set[str]:
    """Every kernel that `kernels_that_ran` can name of these backends."""
    every = {
        f"{backend} {domain}.{name}"
        for backend in backends
        for domain in DOMAINS
        if unavailable_reason(backend, domain) is None
        for name in all_kernels(domain, backend).__all__
    }
    if "gpu" in backends and emulated("gpu"):
        from fastrec.kernels.gpu.module import KERNELS

        every |= {f"{file}.cu {name}" for file in KERNELS for name in KERNELS[file]}
    return every


def each_argument(kernels: Iterable[str]) -> set[str]:
    """Of kernels, as `kernels_to_run` names them, those that are templates with one argument at a time."""
    parts = set()
    for kernel in kernels:
        name, _, values = kernel.rstrip(">").partition("<")
        parts |= (
            {f"{name}, argument {i}: {value}" for i, value in enumerate(values.split(", "))}
            if values
            else {name}
        )
    return parts


def called_on_host(kernel: Any) -> Any:
    """A gpu kernel that is called with NumPy arrays: to the device and back."""

    def run(*arguments: Any, **options: Any) -> Any:
        arrays = {id(a): move(a, "gpu") for a in arguments if isinstance(a, np.ndarray)}
        value = kernel(*[arrays.get(id(a), a) for a in arguments], **options)
        for given in arguments:
            if isinstance(given, np.ndarray):
                after = move(arrays[id(given)], "cpu")
                if given.tobytes() != after.tobytes():
                    given[...] = after
        return value

    return run


def note_launches(monkeypatch: pytest.MonkeyPatch, launched: set[tuple[str, str]]) -> None:
    """Add the file and the name of every kernel that a test launches."""
    from fastrec.kernels.gpu import module

    kernel = module.kernel

    def noted(file: str, name: str, *rest: Any) -> Any:
        launched.add((file, name))
        return kernel(file, name, *rest)

    monkeypatch.setattr(module, "kernel", noted)
