"""What is released: small, whole, of use in a clean environment of each Python that is promised and here."""

from __future__ import annotations

import json
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
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import yaml

import fastrec
from fastrec.messages import install_command

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
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
FIT = """
import numpy as np, fastrec
x = np.ones((4, 3), np.int32)
print(fastrec.fit(fastrec.RNN(2, 4, 2, "gru", seed=1), x, x, epochs=2, seed=1, progress=False).epochs)
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


class CleanEnvironment:
    """A new environment of a Python, in which nothing is set that is for this one."""

    def __init__(self, folder: Path, version: str) -> None:
        python = interpreter(version)
        if python is None:
            pytest.skip(f"there is no Python {version} here")
        self.folder = folder
        self.run(python, "-m", "venv", "--without-pip", "clean")
        self.bin = folder / "clean" / ("Scripts" if os.name == "nt" else "bin")

    def run(self, *command: str | Path) -> str:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "FASTREC"))}
        kept |= {"FASTREC_CACHE_DIR": str(self.folder / "kernels"), "MPLCONFIGDIR": str(self.folder)}
        done = subprocess.run(command, cwd=self.folder, env=kept, capture_output=True, text=True)
        if "Retrying" in done.stderr and done.returncode:
            pytest.skip("there is no package index")
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def pip(self, *arguments: str | Path) -> None:
        python = self.bin / "python"
        self.run(sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python, *arguments)


@pytest.mark.slow
@pytest.mark.parametrize("version", PYTHONS)
def test_wheel_works_in_a_clean_environment(built: Path, tmp_path: Path, version: str) -> None:
    clean = CleanEnvironment(tmp_path, version)
    clean.pip("install", "-q", "--no-compile", *built.glob("*.whl"))
    clean.pip("check")
    assert clean.run(clean.bin / "fastrec", "--version") == f"fastrec {fastrec.__version__}\n"
    reference, cpu = clean.run(clean.bin / "python", "-W", "error", "-c", USE).splitlines()
    assert reference == cpu


@pytest.mark.slow
def test_the_lowest_versions_work(built: Path, tmp_path: Path) -> None:
    """All direct dependencies at once, in the lowest versions that are admitted, on the oldest Python."""
    clean = CleanEnvironment(tmp_path, PYTHONS[0])
    lowest = [name.replace(">=", "==") for name in PROJECT["dependencies"]]
    assert all("==" in name for name in lowest)
    clean.pip("install", "-q", "--no-compile", *lowest, *built.glob("*.whl"))
    assert "capacity" in clean.run(clean.bin / "fastrec", "--help")
    job = ("capacity", "--sizes", "10,20", "--trials", "2")
    assert "written to capacity.csv and capacity.png" in clean.run(clean.bin / "fastrec", *job)
    assert (tmp_path / "capacity.png").read_bytes().startswith(b"\x89PNG")
    assert clean.run(clean.bin / "python", "-c", FIT) == "2\n"


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
        'fastrec.set_backend("cuda")': "arg-type",
        'fastrec.RNN(2, 3, backend="cuda")': "arg-type",
        'net = fastrec.HopfieldNetwork(9, backend="auto")': "",
        "fastrec.random_patterns(2, 9, backend=net.backend)": "",
        'net.recall(net.patterns, order="asynch")': "arg-type",
        "net.recall(net.patterns, order=[[*range(9)]])": "",
        'net.recall(net.patterns, "asynch")': "arg-type",
        "net.recall(net.patterns).states.nothing": "union-attr",
        "net.energy(net.patterns).nothing": "union-attr",
        "fastrec.Adam().epsilon.nothing": "attr-defined",
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


def test_the_conda_recipe_follows_the_project() -> None:
    """Names and versions of dependencies are those of pyproject.toml; conda calls some otherwise."""
    recipe = yaml.safe_load((ROOT / "packaging/conda/recipe.yaml").read_text(encoding="utf-8"))
    lowest = recipe["context"]["python_min"]
    assert recipe["context"]["version"] == fastrec.__version__
    assert PROJECT["requires-python"] == f">={lowest}" and lowest == PYTHONS[0]
    run = [" ".join(name.split()) for name in recipe["requirements"]["run"]]
    names = {"matplotlib": "matplotlib-base"}
    parts = (re.fullmatch(r"([\w-]+)(.*)", name).groups() for name in PROJECT["dependencies"])
    assert run == [
        "python >=${{ python_min }}",
        *(f"{names.get(name, name)} {least}" for name, least in parts),
    ]
    build = [name.replace(">=", " >=") for name in PYPROJECT["build-system"]["requires"]]
    assert recipe["requirements"]["host"] == ["python ${{ python_min }}.*", "pip", *build]
    (script,) = recipe["build"]["python"]["entry_points"]
    assert script == f"fastrec = {PROJECT['scripts']['fastrec']}"
    assert recipe["about"]["summary"] == PROJECT["description"]
    assert {*recipe["about"]["license_file"]} == NOTICES


def test_containers_name_what_exists() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    images = re.findall(r"^FROM python:(3\.\d+)-slim", dockerfile, re.MULTILINE)
    (command,) = json.loads(re.findall(r"^ENTRYPOINT (.*)", dockerfile, re.MULTILINE)[0])
    assert {*images} <= {*PYTHONS} and command in PROJECT["scripts"] and "USER 1000" in dockerfile
    copied = re.findall(r"^!(.*)", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE)
    assert all((ROOT / name).exists() for name in copied)
    assert {"pyproject.toml", "README.md", "packaging", "src", *NOTICES} == {
        *copied
    }  # what a wheel is made of
    container = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text(encoding="utf-8"))
    setup, extra = container["postCreateCommand"].split()
    assert os.access(ROOT / setup, os.X_OK) and extra in PROJECT["optional-dependencies"]
    assert container["image"].rpartition(":")[2] in PYTHONS


@pytest.mark.slow  # hatchling is of the extra test-all
@pytest.mark.parametrize("repository", ["", "https://example.org/fastrec"])
def test_the_page_of_an_index_has_no_paths(repository: str) -> None:
    spec = spec_from_file_location(
        "index_page", ROOT / PYPROJECT["tool"]["hatch"]["metadata"]["hooks"]["custom"]["path"]
    )
    index_page = module_from_spec(spec)
    spec.loader.exec_module(index_page)
    text = (
        "See [docs](docs/a.md#b), [there](#here) and [web](https://example.org).\n"
        '![A curve](docs/curve.png) <img src="docs/wide.png" alt="Wide"> [![Both](a.png)](b.md)\n'
    )
    found = index_page.with_addresses(text, repository)
    assert "[there](#here) and [web](https://example.org)" in found
    if repository:
        assert f"[docs]({repository}/blob/HEAD/docs/a.md#b)" in found
        assert f"![A curve]({repository}/raw/HEAD/docs/curve.png)" in found
        assert f'<img src="{repository}/raw/HEAD/docs/wide.png" alt="Wide">' in found
        assert f"[![Both]({repository}/raw/HEAD/a.png)]({repository}/blob/HEAD/b.md)" in found
    else:
        assert "See docs, [there]" in found and ".png" not in found and ".md" not in found
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert not re.search(index_page.LINK, index_page.with_addresses(readme, repository))


def test_version_is_told_once() -> None:
    changes, citation = (
        (ROOT / name).read_text(encoding="utf-8") for name in ("CHANGELOG.md", "CITATION.cff")
    )
    released = re.findall(rf"^## \[{fastrec.__version__}\] - (\S+)$", changes, re.MULTILINE)
    assert [f"version: {fastrec.__version__}", f"date-released: {released[0]}"] == re.findall(
        r"^(?:version|date-released): .*", citation, re.MULTILINE
    )
    title = re.findall(r'^title: "(.*)"', citation, re.MULTILINE)[0]
    pages = [path.read_text(encoding="utf-8") for path in (ROOT / "README.md", ROOT / "docs/install.md")]
    entries = [entry for page in pages for entry in re.findall(r"@software\{.*?\n\}", page, re.DOTALL)]
    said = {"title": title, "version": fastrec.__version__, "date": released[0]}
    assert entries and all(
        re.search(rf"\b{k} += \{{{re.escape(v)}\}}", entry) for entry in entries for k, v in said.items()
    )
    wheels = {name for page in pages for name in re.findall(r"fastrec-[\d.]+-py3-none-any", page)}
    assert wheels == {f"fastrec-{fastrec.__version__}-py3-none-any"}


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


@pytest.mark.parametrize("name", ["speed_up", "GRU"])
def test_modules_of_torch_say_what_is_missing(name: str) -> None:
    code = f"import sys; sys.modules['torch'] = None; import fastrec; fastrec.torch.{name}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert 'ImportError: PyTorch is not installed: pip install "torch' in done.stderr
