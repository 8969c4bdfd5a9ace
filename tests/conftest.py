"""One test body, every backend: the `backend` fixture, narrowed by FASTREC_TEST_BACKENDS=cpu,reference."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from fastrec.backend import lacking

BACKENDS = ("reference", "cpu")  # "gpu" joins when its kernels do
CHOSEN = tuple(filter(None, os.environ.get("FASTREC_TEST_BACKENDS", "").split(","))) or BACKENDS
if unknown := set(CHOSEN) - set(BACKENDS):
    raise pytest.UsageError(f"FASTREC_TEST_BACKENDS names {', '.join(sorted(unknown))}; there are {BACKENDS}")

settings.register_profile(
    "fastrec", deadline=None, derandomize="CI" in os.environ, database=None, max_examples=30
)
settings.load_profile("fastrec")


def usable(name: str) -> str:
    """The name, or a skip that says what is missing."""
    if fault := lacking(name):
        pytest.skip(fault)
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
