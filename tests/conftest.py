"""One test body, every backend: the `backend` fixture, narrowed by FASTREC_TEST_BACKENDS=cpu,reference.

``--all`` runs what a short run leaves out (choice.py).
"""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import choice
import devices
import matplotlib.image
import pytest
from emulator import errors, raw
from hypothesis import settings
from summary import Summary

from fastrec import validation as arguments
from fastrec.backend import BACKENDS, array_module, unavailable_reason

CHOSEN = tuple(filter(None, os.environ.get("FASTREC_TEST_BACKENDS", "").split(","))) or BACKENDS
if unknown := set(CHOSEN) - set(BACKENDS):
    raise pytest.UsageError(f"FASTREC_TEST_BACKENDS names {', '.join(sorted(unknown))}; there are {BACKENDS}")
# Files that are not run on "gpu": emulated CUDA would take minutes, and other files run the same kernels.
WITHOUT_GPU = (
    *("test_constraints", "test_laws", "test_onnx", "test_phase", "test_retrieval", "test_runs"),
    "test_text",
)

# Files that take minutes.  Most compile nothing for the CPU: workers should not begin by compiling the same
# kernels.
LONG = (
    *("test_faults", "test_cuda_compiles", "test_cuda_recurrent", "test_cuda_schedules", "test_capacity"),
    *("test_cuda_training", "test_cuda_generation", "test_portable", "test_distribution", "test_gpu_jobs"),
)

os.environ["FASTREC_QUIET"] = "1"  # tests compare standard error; those of bars and notices unset it
os.environ["FASTREC_BACKEND"] = "cpu"  # of tests that name no backend, also where there is a card
if "gpu" in CHOSEN:
    devices.prepare()

settings.register_profile(
    "fastrec", deadline=None, derandomize="CI" in os.environ, database=None, max_examples=30
)
settings.load_profile("fastrec")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("fastrec")
    group.addoption("--all", action="store_true", help="run also tests marked slow, and all cases")
    group.addoption("--torch", action="store_true", help="PyTorch must be there")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Summary(config, CHOSEN), "summary")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without what a short run leaves out; long files first."""
    items[:] = [item for item in items if item.path.stem not in WITHOUT_GPU or "gpu" not in parameters(item)]
    if not config.option.all:
        items[:], left_out = choice.short(items)
        config.hook.pytest_deselected(items=left_out)
        config.pluginmanager.get_plugin("summary").left_out = len(left_out)
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))


def pytest_collection_finish() -> None:
    """Thousands of tests and the modules that they import stay: no use to look for garbage among them."""
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    """Of several workers one compiles a file of tests and the kernels that its import calls, not each."""
    with contextlib.ExitStack() as stack:
        if isinstance(collector, pytest.Module):
            with contextlib.suppress(ImportError):
                from fcntl import LOCK_EX, flock  # which Windows has not

                flock(stack.enter_context(collector.path.open()), LOCK_EX)
        return (yield)


def pytest_runtest_setup() -> None:
    """No test suffers from a fault that another one has had in an emulated kernel."""
    errors.reset()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What tests that passed have noted by ``record_property("note", ...)``."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "note":
                terminalreporter.write_line(value)


def parameters(item: pytest.Item) -> list[str]:
    """The names of the backends that a test is run on."""
    given = item.callspec.params if hasattr(item, "callspec") else {}
    return [given[fixture] for fixture in ("backend", "compiled") if fixture in given]


def usable(name: str) -> str:
    """The name, or a skip that says what is missing."""
    if missing := devices.fault() if name == "gpu" else unavailable_reason(name):
        pytest.skip(missing)
    return name


# Session scope, so that Hypothesis sees a constant and each backend is tested in one go.
@pytest.fixture(scope="session", params=CHOSEN)
def backend(request: pytest.FixtureRequest) -> str:
    """The name of each backend in turn."""
    return usable(request.param)


@pytest.fixture(scope="session", params=[name for name in CHOSEN if name != "reference"])
def compiled(request: pytest.FixtureRequest) -> str:
    """The name of each backend but the reference, to be compared with it."""
    return usable(request.param)


@pytest.fixture(scope="session")
def gpu() -> str:
    """The name "gpu", for tests of nothing else."""
    if "gpu" not in CHOSEN:
        pytest.skip("FASTREC_TEST_BACKENDS leaves it out")
    return usable("gpu")


@pytest.fixture(scope="session")
def cp(gpu: str) -> Any:
    """CuPy, or its stand-in."""
    return array_module(gpu)


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets the free memory of the device."""

    def set_free(nbytes: int) -> None:
        monkeypatch.setattr(arguments, "device_memory", lambda: (nbytes, 2**40))

    return set_free


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], int]]:
    """Sets the number of threads of the CPU, to which even the smallest jobs are dealt."""
    from fastrec.kernels.cpu import threads

    for cost in ("SMALL", "SHARE"):
        monkeypatch.setattr(threads, cost, 1)
    yield threads.set_threads
    threads.set_threads(None)


@pytest.fixture
def quick(request: pytest.FixtureRequest) -> None:
    """Skips a test whose backend is emulated, which would take it many seconds."""
    given = {"backend", "compiled"}.intersection(request.fixturenames)
    if any(devices.emulated(request.getfixturevalue(fixture)) for fixture in given):
        pytest.skip("too much work for emulated CUDA")


# A card runs in a way of its own.
IN_SHORT = "backward"
WAYS = [pytest.param(name, marks=[pytest.mark.slow] * (name != IN_SHORT)) for name in devices.MODES]


@pytest.fixture(params=WAYS if devices.emulated("gpu") else ["checked"])
def mode(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each way that emulated CUDA runs, in turn."""
    check, order, seed = devices.MODES[request.param]
    with raw.checked(check), raw.schedule(order, seed):
        yield


@pytest.fixture
def main(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """The function main of the example or figure that a test is named after; its picture shows something."""
    name = request.function.__name__.removeprefix("test_")
    root = Path(__file__).parents[1]
    (script,) = (path for folder in ("examples", "docs/gallery") for path in root.glob(f"{folder}/{name}.py"))
    spec = importlib.util.spec_from_file_location(f"script_{name}", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    path = tmp_path / f"{name}.png"
    yield lambda *args, **options: module.main(*args, **options, path=path)
    image = matplotlib.image.imread(path)
    assert min(image.shape[:2]) > 200 and image[..., :3].std() > 0.05
