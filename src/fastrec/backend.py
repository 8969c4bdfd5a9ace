"""The switch between the kernel backends: "cpu" (Numba), "gpu" (CuPy), "reference" (NumPy)."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import importlib
import importlib.util
import os
from collections.abc import Iterator
from types import ModuleType
from typing import Any, Literal, NamedTuple, cast, get_args

from .compilation import announcement
from .kernels.compilation import listeners
from .messages import install_command, shown

Backend = Literal["reference", "cpu", "gpu"]
BackendChoice = Literal["auto", Backend]
BACKENDS: tuple[Backend, ...] = get_args(Backend)

_default: BackendChoice | None = None
_scoped: contextvars.ContextVar[BackendChoice | None] = contextvars.ContextVar(
    "fastrec_backend", default=None
)

listeners.append(announcement)  # before any kernel is compiled: public code reaches them through this module


class BackendError(RuntimeError):
    """The chosen backend is unknown, cannot run here, or cannot take the given arrays.

    Examples
    --------
    >>> import fastrec
    >>> fastrec.set_backend("tpu")
    Traceback (most recent call last):
        ...
    fastrec.backend.BackendError: backend is 'tpu'; it must be "cpu", "gpu", "reference" or "auto"
    """


def set_backend(name: BackendChoice) -> Backend:
    """Set the default backend of this process.

    It holds in every thread, except inside `use_backend` and where an object or a call names a backend.

    Parameters
    ----------
    name : {"cpu", "gpu", "reference", "auto"}
        "auto" is "gpu" where that can run, else "cpu".

    Returns
    -------
    str
        The backend in force, "auto" resolved.

    Raises
    ------
    BackendError
        If the backend is unknown or cannot run here; nothing changes then.

    Examples
    --------
    >>> import fastrec
    >>> fastrec.set_backend("cpu")
    'cpu'
    """
    global _default
    resolved = resolve(name)
    _default = name
    return resolved


@contextlib.contextmanager
def use_backend(name: BackendChoice) -> Iterator[Backend]:
    """Use a backend inside a ``with`` block, in this thread or asyncio task only.

    Parameters
    ----------
    name : {"cpu", "gpu", "reference", "auto"}
        "auto" is "gpu" where that can run, else "cpu".

    Yields
    ------
    str
        The backend in force, "auto" resolved.

    Raises
    ------
    BackendError
        On entry, if the backend is unknown or cannot run here.

    Examples
    --------
    >>> import fastrec
    >>> with fastrec.use_backend("reference"):
    ...     fastrec.get_backend()
    'reference'
    """
    resolved = resolve(name)
    token = _scoped.set(name)
    try:
        yield resolved
    finally:
        _scoped.reset(token)


def get_backend() -> Backend:
    """Return the backend in force.

    Returns
    -------
    str
        That of `use_backend`, else of `set_backend`, else of the environment variable FASTREC_BACKEND, else
        "auto" resolved: "gpu" where that can run, else "cpu".

    Raises
    ------
    BackendError
        If FASTREC_BACKEND names a backend that is unknown or cannot run here.

    Examples
    --------
    >>> import fastrec
    >>> fastrec.get_backend() in fastrec.available_backends()
    True
    """
    return resolve(None)


def available_backends() -> tuple[Backend, ...]:
    """Return the backends that can run here.

    Returns
    -------
    tuple of str
        Some of "reference", "cpu" and "gpu".

    Examples
    --------
    >>> import fastrec
    >>> "cpu" in fastrec.available_backends()
    True
    """
    return tuple(name for name in BACKENDS if unavailable_reason(name) is None)


def resolve(backend: str | None, *arrays: object, domain: str | None = None) -> Backend:
    """The name of the backend to run on: `backend`, or the one in force if that is None.

    "auto" is "gpu" where that can run, and has kernels of the domain if one is named, else "cpu"; CuPy arrays
    among `arrays`, also in a tuple there, make it "gpu".  Raises BackendError if the backend is unknown,
    cannot run here, has no such kernels, or is not "gpu" and an array is of CuPy.
    """
    name, source = backend, "backend"
    if name is None:
        name = _scoped.get() or _default
    if name is None:
        name, source = os.environ.get("FASTREC_BACKEND") or "auto", "FASTREC_BACKEND"
    if name != "auto" and name not in BACKENDS:
        raise BackendError(f'{source} is {shown(name)}; it must be "cpu", "gpu", "reference" or "auto"')
    parts = (part for array in arrays for part in (array if type(array) is tuple else (array,)))
    device_arrays = any(map(is_cupy, map(type, parts)))
    if name == "auto":
        name = "gpu" if device_arrays or unavailable_reason("gpu", domain) is None else "cpu"
    if fault := unavailable_reason(name, domain):
        raise BackendError(fault)
    if device_arrays and name != "gpu":
        raise BackendError(f'a CuPy array was given to backend "{name}"; use "gpu" or cupy.asnumpy(array)')
    return cast(Backend, name)


def kernels(domain: str, backend: str) -> ModuleType:
    """The kernel module of a domain ("hopfield", "rnn") on a backend that `resolve` returned."""
    if fault := unavailable_reason(backend, domain):
        raise BackendError(fault)
    return importlib.import_module(f"fastrec.kernels.{backend}.{domain}")


def array_module(backend: str) -> Any:
    """The module that makes arrays where a backend computes: CuPy for "gpu", else NumPy."""
    if backend == "gpu":
        import cupy

        return cupy
    import numpy

    return numpy


def on_device(array: object) -> bool:
    """Whether this is a CuPy array, told by the name of its module so that CuPy is not imported."""
    return is_cupy(type(array))  # type: ignore[arg-type]


@functools.cache
def is_cupy(kind: type) -> bool:
    """Whether a type is one of CuPy."""
    return kind.__module__.partition(".")[0] == "cupy"


def backend_of(array: object) -> Backend:
    """A backend that computes where an array is: "gpu" for a CuPy array, else "cpu"."""
    return "gpu" if on_device(array) else "cpu"


def move(array: Any, backend: str) -> Any:
    """An array where a backend computes: itself if it is there, else a C-contiguous copy.

    A copy to the host waits for the device, one to the device does not.
    """
    if on_device(array) == (backend == "gpu"):
        return array
    xp = array_module("gpu")
    return xp.asarray(array, order="C") if backend == "gpu" else xp.asnumpy(array)


class Device(NamedTuple):
    """The device in use: its name, its compute capability as "9.0", its multiprocessors."""

    name: str
    capability: str
    multiprocessors: int


def device() -> Device:
    """The device that "gpu" runs on."""
    runtime = array_module("gpu").cuda.runtime
    card = runtime.getDeviceProperties(runtime.getDevice())
    return Device(card["name"].decode(), f"{card['major']}.{card['minor']}", card["multiProcessorCount"])


def visible_devices() -> list[str]:
    """The devices that this process may use, each as CUDA_VISIBLE_DEVICES of a process that sees it alone.

    Of MIG instances a process sees one, however many are listed.
    """
    count = array_module("gpu").cuda.runtime.getDeviceCount()
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        return [str(number) for number in range(count)]
    names = [name.strip() for name in listed.split(",")]
    if names[0].startswith("MIG-"):
        return list(dict.fromkeys(name for name in names if name.startswith("MIG-")))
    return names[:count]  # CUDA reads no further than to the first one that is not there


def is_device_error(error: BaseException) -> bool:
    """Whether this is an error of CuPy's, such as that of a kernel, or of a device that was lost."""
    return type(error).__module__.partition(".")[0] in ("cupy", "cupy_backends")


def device_memory() -> tuple[int, int]:
    """Free bytes of the device in use, including the free blocks of CuPy's pool, and its bytes in all."""
    cupy = array_module("gpu")
    free, total = cupy.cuda.runtime.memGetInfo()
    return free + cupy.get_default_memory_pool().free_bytes(), total


@functools.cache
def unavailable_reason(backend: str, domain: str | None = None) -> str | None:
    """Why a backend, or its kernels of a domain, cannot run here, as a sentence, or None if they can."""
    if domain is not None:
        if fault := unavailable_reason(backend):
            return fault
        spec = importlib.util.find_spec(f"fastrec.kernels.{backend}.{domain}")
        return None if spec else f'backend "{backend}" has no {domain} kernels in this version'
    if backend == "reference":
        return None
    if importlib.util.find_spec(f"fastrec.kernels.{backend}") is None:
        return f'the kernels of backend "{backend}" are not part of this version of fastrec'
    if backend == "cpu":
        spec = importlib.util.find_spec("numba")
        if spec is None:
            return f'backend "cpu" needs Numba, which is not installed: {install_command("numba")}'
        return None
    return gpu_unavailable_reason()


def gpu_unavailable_reason() -> str | None:
    """Why CuPy cannot compile and run the kernels here, as a sentence, or None if it can."""
    cuda13, cuda12 = (install_command(f"cupy-cuda{version}x[ctk]") for version in (13, 12))
    install = f"{cuda13} (CUDA 12: {cuda12})"
    if importlib.util.find_spec("cupy") is None:
        return f'backend "gpu" needs CuPy, which is not installed: {install}'
    try:
        import cupy

        runtime = cupy.cuda.runtime
        if not runtime.driverGetVersion():
            return 'backend "gpu" found no NVIDIA driver; install the driver of the card'
        if not runtime.getDeviceCount():
            return 'backend "gpu" found no CUDA device'
        card = runtime.getDeviceProperties(runtime.getDevice())
        cooperative = cupy.cuda.Device().attributes["CooperativeLaunch"]
        version = tuple(int(part) for part in cupy.__version__.split(".")[:2])
    except Exception as error:  # a broken CuPy or driver fails in many ways, and each means: no gpu
        return f'backend "gpu" found no usable CUDA device: {error}'
    if version < (14, 2):
        return f'backend "gpu" needs CuPy 14.2 or later; {cupy.__version__} is installed'
    name, capability = card["name"].decode(), f"{card['major']}.{card['minor']}"
    if card["major"] < 8:
        return f'backend "gpu" needs compute capability 8.0; {name} has {capability}'
    if not cooperative:
        return f'backend "gpu" needs a device that launches cooperatively; {name} does not'
    # CuPy looks for its compiler, and for the headers of CUDA, only when it compiles the first kernel.
    try:
        compiler = cupy.cuda.nvrtc.getVersion()
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        return f'backend "gpu" needs the compiler NVRTC, which CuPy cannot load ({reason}): {install}'
    if compiler < (12, 3):  # the first that knows stores of 128 bits, as in cuda/mail.cuh
        found = ".".join(map(str, compiler))
        return f'backend "gpu" needs the compiler NVRTC of CUDA 12.3 or later, CuPy loads {found}: {install}'
    try:
        cupy._core.core.assemble_cupy_compiler_options(())
    except AttributeError:  # it is CuPy's own and may move; the first kernel then says what is missing
        pass
    except Exception:
        return f'backend "gpu" needs the headers of CUDA, which CuPy cannot find: {install}, or set CUDA_PATH'
    return None
