"""What is released: small, whole, of use in a clean environment of each Python that is promised and here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib import metadata
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

import fastrec
from fastrec.messages import install_command

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PYTHONS = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
SOURCES = {
    str(path.relative_to(ROOT / "src"))
    for path in ROOT.glob("src/fastrec/**/*.*")
    if path.suffix in (".py", ".pyi", ".cu", ".cuh", ".txt", ".md")
}
NOTICES = {"LICENSE", "THIRD-PARTY-NOTICES.md"}
USE = """
import numpy as np, fastrec
patterns = fastrec.random_patterns(5, 100, seed=1, backend="reference")
for backend in ("reference", "cpu"):
    net = fastrec.HopfieldNetwork(100, backend=backend)
    net.store(patterns)
    print(net.overlaps(patterns).sum())
fastrec.RNN(3, 4, seed=1, backend="reference").predict(np.ones((1, 2, 3), np.float32))
fastrec.Vocabulary.of(fastrec.example_text())
"""


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the sdist, made of what git has or would have, and the wheel made of the sdist."""
    folder = tmp_path_factory.mktemp("built")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_wheel_is_small_and_whole(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    assert wheel.name == f"fastrec-{fastrec.__version__}-py3-none-any.whl" and wheel.stat().st_size < 10**6
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in names if name.startswith("fastrec/")} == SOURCES | {"fastrec/py.typed"}
    assert any(name.endswith(".cu") for name in names)
    assert {f"fastrec-{fastrec.__version__}.dist-info/licenses/{name}" for name in NOTICES} <= names


@pytest.mark.slow
def test_sdist_is_whole(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names >= {f"src/{name}" for name in SOURCES}
    assert names >= {
        "README.md",
        "CHANGELOG.md",
        "CITATION.cff",
        *NOTICES,
        "pyproject.toml",
        "tests/conftest.py",
    }
    assert not [name for name in names if "_build" in name or "__pycache__" in name or name.startswith(".ci")]


def interpreter(version: str) -> str | None:
    """A Python of this version with what makes environments, on PATH or of pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    for candidate in (shutil.which(f"python{version}"), *sorted(pyenv.glob(f"{version}.*/bin/python"))):
        test = [candidate, "-c", "import venv, ensurepip"]
        if candidate and subprocess.run(test, capture_output=True).returncode == 0:
            return str(candidate)
    return None


@pytest.mark.slow
@pytest.mark.parametrize("version", PYTHONS)
def test_wheel_works_in_a_clean_environment(built: Path, tmp_path: Path, version: str) -> None:
    python = interpreter(version)
    if python is None:
        pytest.skip(f"there is no Python {version} here")
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "FASTREC"))
    }

    def run(*command: str | Path) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        if "Retrying" in done.stderr and done.returncode:
            pytest.skip("there is no package index")
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(python, "-m", "venv", "--without-pip", "clean")
    bin = tmp_path / "clean" / ("Scripts" if os.name == "nt" else "bin")
    (wheel,) = built.glob("*.whl")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", bin / "python")
    run(*pip, "install", "-q", "--no-compile", wheel)
    run(*pip, "check")
    assert run(bin / "fastrec", "--version") == f"fastrec {fastrec.__version__}\n"
    reference, cpu = run(bin / "python", "-W", "error", "-c", USE).splitlines()
    assert reference == cpu


def test_dir_shows_public_names_only() -> None:
    code = (
        "import fastrec, fastrec.kernels.cpu.rnn, fastrec.rnn.loop\n"
        "for room in (fastrec, fastrec.hopfield, fastrec.rnn, fastrec.text, fastrec.tasks, fastrec.plot):\n"
        "    hidden = ['onnx', 'torch'] * (room is fastrec)  # import * would hide libraries\n"
        "    assert dir(room) == sorted([*room.__all__, *hidden]), room\n"
        "    both = {*dir(room)} & {*dir(fastrec)}\n"
        "    assert all(getattr(room, name) is getattr(fastrec, name) for name in both), room\n"
        "print(*dir(fastrec))"
    )
    names = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert {"RNN", "HopfieldNetwork", "capacity", "fit", "hopfield", "plot", "rnn", "__version__"} <= {*names}
    assert not {"kernels", "imports", "import_when_used", "accept_old_places", "loop", "annotations"} & {
        *names
    }


@pytest.mark.slow
def test_type_checkers_know_the_public_names(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    lines = {
        "fastrec.RNN(2, 3).hidden_size + 1": "",
        "fastrec.rnn.RNN(2, 3).hidden_size + 1": "",
        "fastrec.nothing": "attr-defined",
        "fastrec.hopfield.nothing": "attr-defined",
        "fastrec.RNN(2, 3).nothing": "attr-defined",
        "fastrec.capacity(10, trails=3)": "call-arg",
    }
    page = tmp_path / "page.py"
    page.write_text("\n".join(["import fastrec", *lines, ""]))
    command = [sys.executable, "-m", "mypy", "--config-file", ROOT / "pyproject.toml"]
    command += ["--cache-dir", ROOT / ".mypy_cache", page]
    environment = {**os.environ, "MYPYPATH": str(ROOT / "src")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    found = {int(line): code for line, code in re.findall(r"^page\.py:(\d+):.*\[(.*)\]$", done.stdout, re.M)}
    assert found == {i: code for i, code in enumerate(lines.values(), 2) if code}, done.stdout + done.stderr


def test_what_ships_and_is_not_ours_has_a_notice() -> None:
    assert {*PROJECT["license-files"]} == NOTICES
    text = (ROOT / "THIRD-PARTY-NOTICES.md").read_text(encoding="utf-8")
    data = [path for path in ROOT.glob("src/fastrec/**/data/*") if path.is_file()]
    assert data and all(str(path.relative_to(ROOT)) in text for path in data)
    assert all(Path(ROOT, name).exists() for name in re.findall(r"`((?:src|docs)/[^`]+)`", text))


def test_version_is_told_once() -> None:
    changes, citation = (
        (ROOT / name).read_text(encoding="utf-8") for name in ("CHANGELOG.md", "CITATION.cff")
    )
    assert f"## [{fastrec.__version__}]" in changes and f"version: {fastrec.__version__}\n" in citation


def test_messages_name_the_requirements_of_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    assert install_command("torch") == 'pip install "torch>=2.7"'
    assert install_command("cupy-cuda12x[ctk]") == 'pip install "cupy-cuda12x[ctk]>=14.2"'
    assert install_command("onnx", "onnxruntime") == 'pip install "onnx>=1.16" "onnxruntime>=1.18"'
    assert install_command("pandas") == "pip install pandas"

    def not_installed(name: str) -> list[str]:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", not_installed)
    assert install_command("torch") == "pip install torch"


def test_nothing_assumes_that_an_index_has_fastrec() -> None:
    """In a clone it is pip install ".[extra]"; a message names the packages of the extra instead."""
    pages = [*ROOT.glob("src/**/*.py"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*.py")]
    pages += ROOT.glob("*.md")
    advice = re.compile(r"""install\s+["']?fastrec\b(?!-)""")
    found = [str(page) for page in pages if advice.search(page.read_text(encoding="utf-8"))]
    assert not found
