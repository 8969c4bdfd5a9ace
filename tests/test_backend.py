"""The switch between backends, and what `import fastrec` loads."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fastrec
from fastrec import backend as switch

SOURCE = Path(fastrec.__file__).parents[1]


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter that finds fastrec."""
    inherited = {name: value for name, value in os.environ.items() if name != "FASTREC_BACKEND"}
    path = os.pathsep.join(filter(None, [str(SOURCE), os.environ.get("PYTHONPATH")]))
    environment = inherited | {"PYTHONPATH": path} | environment
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)


class FakeCupy:
    """An array whose type says that it is CuPy's."""


FakeCupy.__module__ = "cupy._core.core"


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No default, no environment variable, no remembered faults, before and after."""
    monkeypatch.delenv("FASTREC_BACKEND", raising=False)
    monkeypatch.setattr(switch, "_default", None)
    switch.unavailable_reason.cache_clear()
    yield
    switch.unavailable_reason.cache_clear()


def pretend(
    monkeypatch: pytest.MonkeyPatch,
    devices: int | Exception | None,
    version: str = "14.2.0",
    capability: str = "9.0",
    driver: int = 13000,
    cooperative: int = 1,
    compiler: Exception | tuple[int, int] = (12, 3),
    headers: Exception | None = None,
) -> None:
    """There are gpu kernels but for RNNs; CuPy is missing (None), fails, or sees that many devices.

    compiler, headers: what CuPy raises where it looks for them, or the version of the compiler.
    """
    real = switch.importlib.util.find_spec

    def find_spec(name: str) -> object:
        if name == "cupy":
            return None if devices is None else object()
        return None if name == "fastrec.kernels.gpu.rnn" else real(name)

    def count() -> int:
        if isinstance(devices, Exception):
            raise devices
        return devices

    monkeypatch.setattr(switch.importlib.util, "find_spec", find_spec)
    if devices is not None:
        major, minor = map(int, capability.split("."))
        properties = {"name": b"Card", "major": major, "minor": minor}
        runtime = SimpleNamespace(
            driverGetVersion=lambda: driver,
            getDeviceCount=count,
            getDevice=lambda: 0,
            getDeviceProperties=lambda number: properties,
        )

        def look_for(what: Any) -> Any:
            if isinstance(what, Exception):
                raise what
            return what

        cuda = SimpleNamespace(
            runtime=runtime,
            Device=lambda: SimpleNamespace(attributes={"CooperativeLaunch": cooperative}),
            nvrtc=SimpleNamespace(getVersion=lambda: look_for(compiler)),
        )
        core = SimpleNamespace(assemble_cupy_compiler_options=lambda options: look_for(headers))
        cupy = SimpleNamespace(cuda=cuda, _core=SimpleNamespace(core=core), __version__=version)
        monkeypatch.setitem(sys.modules, "cupy", cupy)
    switch.unavailable_reason.cache_clear()


def test_the_default_is_auto_and_resolved() -> None:
    assert fastrec.get_backend() == ("gpu" if "gpu" in fastrec.available_backends() else "cpu")
    assert {"reference", "cpu"} <= set(fastrec.available_backends())


def test_set_backend() -> None:
    assert fastrec.set_backend("reference") == fastrec.get_backend() == "reference"
    assert fastrec.set_backend("auto") == fastrec.get_backend() != "auto"


def test_use_backend_nests_and_ends_with_an_exception() -> None:
    fastrec.set_backend("cpu")
    with fastrec.use_backend("reference") as name:
        assert name == fastrec.get_backend() == "reference"
        with fastrec.use_backend("cpu"):
            assert fastrec.get_backend() == "cpu"
        assert fastrec.get_backend() == "reference"
        assert switch.resolve("cpu") == "cpu"  # the argument wins
    assert fastrec.get_backend() == "cpu"
    with pytest.raises(KeyError), fastrec.use_backend("reference"):
        raise KeyError
    assert fastrec.get_backend() == "cpu"


def test_use_backend_stays_in_its_thread_and_set_backend_does_not() -> None:
    seen = []
    fastrec.set_backend("cpu")
    with fastrec.use_backend("reference"):
        thread = threading.Thread(target=lambda: seen.append(fastrec.get_backend()))
        thread.start()
        thread.join()
    thread = threading.Thread(target=lambda: fastrec.set_backend("reference"))
    thread.start()
    thread.join()
    assert [*seen, fastrec.get_backend()] == ["cpu", "reference"]


@pytest.mark.parametrize("name", ["tpu", "", "CPU", 3])
def test_unknown_names_change_nothing(name: str) -> None:
    fastrec.set_backend("reference")
    for attempt in (fastrec.set_backend, lambda name: fastrec.use_backend(name).__enter__(), switch.resolve):
        with pytest.raises(fastrec.BackendError, match='it must be "cpu", "gpu", "reference" or "auto"'):
            attempt(name)
    with pytest.raises(fastrec.BackendError):
        fastrec.HopfieldNetwork(5, backend=name)
    assert fastrec.get_backend() == "reference"


def test_environment_variable() -> None:
    code = "import fastrec; print(fastrec.get_backend())"
    assert python(code, FASTREC_BACKEND="reference").stdout == "reference\n"
    assert python(code, FASTREC_BACKEND="auto").stdout == python(code, FASTREC_BACKEND="").stdout
    assert "FASTREC_BACKEND is 'fast'" in python(code, FASTREC_BACKEND="fast").stderr
    assert (
        python(
            "import fastrec; fastrec.set_backend('cpu'); print(fastrec.get_backend())", FASTREC_BACKEND="fast"
        ).stdout
        == "cpu\n"
    )


def test_no_gpu_says_what_is_missing() -> None:
    """In a fresh interpreter without CuPy: nothing is imported or pretended, and all else works."""
    code = (
        "import sys; sys.modules['cupy'] = None; import fastrec;"
        "print(fastrec.get_backend(), *fastrec.available_backends());"
        "print(fastrec.HopfieldNetwork(5).backend, fastrec.RNN(2, 3).backend); fastrec.set_backend('gpu')"
    )
    run = python(code)
    assert run.stdout == "cpu reference cpu\ncpu cpu\n"
    install = 'pip install "cupy-cuda13x[ctk]>=14.2" (CUDA 12: pip install "cupy-cuda12x[ctk]>=14.2")'
    assert f'backend "gpu" needs CuPy, which is not installed: {install}' in run.stderr


@pytest.mark.parametrize(
    ("cupy", "message"),
    [
        ((None,), r'not installed: pip install "cupy-cuda13x\[ctk\]>=14.2"'),
        ((0,), "no CUDA device"),
        ((RuntimeError("the driver is too old"),), "no usable CUDA device: the driver is too old"),
        ((1, "13.6.0"), "needs CuPy 14.2 or later; 13.6.0 is installed"),
        ((1, "14.2.0", "7.5"), "needs compute capability 8.0; Card has 7.5"),
        ((1, "14.2.0", "9.0", 0), "found no NVIDIA driver; install"),
        ((1, "14.2.0", "9.0", 13000, 0), "needs a device that launches cooperatively; Card does not"),
        (
            (1, "14.2.0", "9.0", 13000, 1, RuntimeError('Failure finding "libnvrtc.so"\nNo such file')),
            r'NVRTC, which CuPy cannot load \(Failure finding "libnvrtc.so"\): pip install "cupy',
        ),
        (
            (1, "14.2.0", "9.0", 13000, 1, (12, 2)),
            r'NVRTC of CUDA 12\.3 or later, CuPy loads 12\.2: pip install "cupy',
        ),
        (
            (1, "14.2.0", "9.0", 13000, 1, (13, 0), RuntimeError("Failed to find CUDA headers.")),
            r'headers of CUDA, which CuPy cannot find: pip install "cupy-cuda13x\[ctk\].*, or set CUDA_PATH',
        ),
    ],
)
def test_gpu_faults(monkeypatch: pytest.MonkeyPatch, cupy: tuple, message: str) -> None:
    pretend(monkeypatch, *cupy)
    with pytest.raises(fastrec.BackendError, match=message):
        fastrec.set_backend("gpu")
    assert fastrec.get_backend() == "cpu"
    assert fastrec.available_backends() == ("reference", "cpu")


def test_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, 1)
    assert fastrec.get_backend() == "gpu"
    assert fastrec.available_backends() == ("reference", "cpu", "gpu")
    assert switch.resolve("gpu", FakeCupy()) == switch.resolve("auto", FakeCupy()) == "gpu"
    with pytest.raises(fastrec.BackendError, match="has no weather kernels"):
        switch.kernels("weather", "cpu")


def test_a_later_cupy_may_look_for_headers_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, 1, headers=AttributeError("no such function"))
    assert switch.unavailable_reason("gpu") is None


def test_auto_takes_what_has_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, 1)
    assert switch.resolve("auto", domain="hopfield") == "gpu"
    for _ in range(2):
        assert switch.resolve("auto", domain="rnn") == fastrec.RNN(2, 3, seed=0).backend == "cpu"
        assert fastrec.RNN(2, 3, backend="auto", seed=0).forward(np.ones((1, 1, 2))).outputs.shape == (
            1,
            1,
            3,
        )
        assert fastrec.set_backend("auto") == fastrec.get_backend() == "gpu"  # and stays "auto"
    with fastrec.use_backend("auto"):
        assert fastrec.RNN(2, 3, seed=0).backend == "cpu"
    message = 'backend "gpu" has no rnn kernels in this version'
    for attempt in (lambda: fastrec.RNN(2, 3, backend="gpu", seed=0), lambda: switch.kernels("rnn", "gpu")):
        with pytest.raises(fastrec.BackendError, match=message):
            attempt()
    with fastrec.use_backend("gpu"), pytest.raises(fastrec.BackendError, match=message):
        fastrec.RNN(2, 3, seed=0)
    with pytest.raises(fastrec.BackendError, match=message):
        fastrec.RNN(2, 3, seed=0).forward(FakeCupy())


@pytest.mark.parametrize("name", ["cpu", "reference"])
def test_cupy_arrays_stay_on_the_gpu(name: str) -> None:
    network = fastrec.HopfieldNetwork(3, backend=name)
    network.store([1, -1, 1])
    for method in (network.store, network.forget, network.recall, network.energy, network.is_stable):
        with pytest.raises(fastrec.BackendError, match=f'a CuPy array was given to backend "{name}"'):
            method(FakeCupy())
    for function in (
        fastrec.pack,
        lambda states, backend: fastrec.corrupt(states, 1, backend=backend, seed=0),
    ):
        with pytest.raises(fastrec.BackendError, match="CuPy"):
            function(FakeCupy(), backend=name)
    assert switch.resolve(name, np.ones(3), None, "text") == name


def test_import_is_light() -> None:
    code = (
        "import sys, time; start = time.perf_counter(); import fastrec; print(time.perf_counter() - start);"
        "print([m for m in ('numpy', 'numba', 'cupy', 'matplotlib', 'typer') if m in sys.modules])"
    )
    seconds, loaded = python(code).stdout.splitlines()
    assert loaded == "[]"
    assert float(seconds) < 0.2


def test_reference_runs_without_numba() -> None:
    code = (
        "import sys; sys.modules['numba'] = None; import fastrec;"
        "net = fastrec.HopfieldNetwork(9, backend='reference');"
        "net.store([1] * 9); print(net.recall([1] * 8 + [-1]).states.sum())"
    )
    run = python(code)
    assert run.stdout == "9\n", run.stderr


def test_every_public_name_is_there() -> None:
    assert set(fastrec.__all__) <= set(dir(fastrec))
    for name in fastrec.__all__:
        assert getattr(fastrec, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'hopfeld'"):
        _ = fastrec.hopfeld
