"""Pages tell the truth: code blocks print what stands beside them, commands exist, links lead somewhere.

```python  blocks of a page run in order, in one namespace and an empty folder.  `print(...)  # OUT` prints
           OUT, or a ```text block that follows is the whole output, with doctest's `...`.
```console `$ fastrec ...` runs there too; the lines below it are its output.
```sh      is for a shell, and not run; `fastrec ...` must be a command with such options.
"""

from __future__ import annotations

import doctest
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import generated
import pytest
import typer

import fastrec
from fastrec import cli
from fastrec.cli.topics import COURSE

ROOT = Path(__file__).parents[1]
WRITTEN = [f"docs/{name}" for name in generated.PAGES]  # when the site is built
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("benchmarks/*.md"), *ROOT.glob("docs/**/*.md")])
    if "_build" not in path.parts and str(path.relative_to(ROOT)) not in WRITTEN
}
FENCE = re.compile(r"^```(\S*)[^\n]*\n(.*?)^```$(?:\n\n```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL)
MATCHES = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def blocks(page: str, *kinds: str) -> list[tuple[str, str, str | None]]:
    """Kind, text, and the output that follows, of the code blocks of a page."""
    return [found.groups() for found in FENCE.finditer(PAGES[page]) if found[1] in kinds]


def commands(text: str) -> Iterator[list[str]]:
    """Arguments of the `fastrec` commands in lines for a shell."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True)
        if words and words[0] in ("fastrec", "./scripts/run"):
            yield words[1:]


def same(said: str, printed: str) -> None:
    assert doctest.OutputChecker().check_output(said, printed, MATCHES), f"said:\n{said}\nprinted:\n{printed}"


def stand_in(**classes: Any) -> ModuleType:
    module = ModuleType("stand_in")
    vars(module).update(classes)
    return module


@pytest.fixture
def clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clusters of other machines are threads here."""
    from distributed import LocalCluster

    class Cluster(LocalCluster):
        def __init__(self, **settings: Any) -> None:
            super().__init__(1, processes=False, threads_per_worker=1, dashboard_address=None)

        def scale(self, n: int | None = None, jobs: int | None = None) -> None:
            if jobs is None:  # asked for by LocalCluster itself, as it closes
                super().scale(n)

    monkeypatch.setitem(sys.modules, "dask_jobqueue", stand_in(SLURMCluster=Cluster))
    monkeypatch.setitem(sys.modules, "dask_kubernetes.operator", stand_in(KubeCluster=Cluster))
    monkeypatch.setitem(sys.modules, "dask_cuda", stand_in(LocalCUDACluster=Cluster))


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[pytest.mark.slow] * (page != "README.md"))
        for page in PAGES
        if blocks(page, "python", "console") and not page.startswith("docs/notebooks/")  # test_notebooks.py
    ],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning:distributed", "ignore::UserWarning:distributed")
def test_code_prints_what_the_page_says(page, request, tmp_path, monkeypatch, capsys):
    for library in re.findall(
        r"^(?:import|from) (duckdb|gensim|onnxruntime|pandas|simplemma|sklearn|torch)\b",
        PAGES[page],
        re.MULTILINE,
    ):
        pytest.importorskip(library)
    if "synthetic_handwriting" in PAGES[page] and page.startswith("docs/how-to/"):
        pytest.importorskip("HersheyFonts")
    if "dask_" in PAGES[page]:
        request.getfixturevalue("clusters")
    if page == "docs/how-to/gpu.md":
        monkeypatch.setenv("FASTREC_BACKEND", request.getfixturevalue("gpu"))
    elif 'backend="gpu"' in PAGES[page]:
        request.getfixturevalue("gpu")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "hear_interrupts", lambda: None)
    namespace: dict[str, Any] = {"__name__": "page"}
    for kind, text, output in blocks(page, "python", "console"):
        if kind == "console":
            for session in re.split(r"^(?=\$ )", text, flags=re.MULTILINE)[1:]:
                command, _, said = session.partition("\n")
                monkeypatch.setattr(sys, "argv", ["fastrec", *next(commands(command))])
                with pytest.raises(SystemExit) as end:
                    cli.main()
                assert not end.value.code, command
                same(said, capsys.readouterr().out)
            continue
        exec(compile(text, page, "exec"), namespace)
        printed = capsys.readouterr().out
        if output is not None:
            same(output, printed)
            continue
        said = re.findall(r"^ *print\(.*\)  # (.*)$", text, re.MULTILINE)
        assert printed.splitlines() == said and len(said) == text.count("print(")


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "sh", "console")])
def test_commands_exist(page):
    for _, text, _ in blocks(page, "sh", "console"):
        for words in commands(text):
            parse(typer.main.get_command(cli.app), words)


def parse(command: Any, words: list[str]) -> None:
    """Raise unless the command has these options and arguments."""
    if "--help" in words or "--version" in words:
        return
    context = command.make_context("fastrec", list(words))
    if hasattr(command, "resolve_command"):
        _, inner, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        parse(inner, rest)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for name in re.findall(r"\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)", PAGES[page]):
        target = (ROOT / page).parent.joinpath(name).resolve()
        assert target.exists() or str(target.relative_to(ROOT)) in WRITTEN, name
    assert not re.search(r"^    (fastrec|pip|python) ", PAGES[page], re.MULTILINE), "write ```sh blocks"


# Pictures of Markdown, of directives of MyST and of HTML; None where there is no text.
PICTURES = (
    r"!\[(?P<alt>[^]]*)\]\(",
    r"^(?:```|:::)\{(?:image|figure)\}.*\n(?:(?!:alt:).+\n)*?(?::alt: *(?P<alt>.*)|(?=```|:::|\n))",
    r"<img\b(?:[^>]*?\balt=\"(?P<alt>[^\"]*)\")?[^>]*>",
)


def poor_pictures(page: str) -> list[str | None]:
    """Alternative texts that do not say what a picture shows, in five words besides that it is one."""
    texts = [found["alt"] for kind in PICTURES for found in re.finditer(kind, page, re.MULTILINE)]
    kinds = r"(an? |the )?(alt|chart|diagram|figure|graph|image|picture|plot|screenshot)\b"
    return [
        text
        for text in texts
        if text is None or len(re.findall(r"[^\W\d_]{2,}", re.sub(kinds, "", text.lower()))) < 5
    ]


def test_pictures_say_what_they_show():
    poor = ["![](a.svg)", "![A figure](a.svg)", "![Capacity\nagainst n](a.svg)", "![a_b_c_d_e_f.svg](a.svg)"]
    poor += ['<img src="a.png">', '<img alt="" src="a.png">', "```{image} a.png\n:width: 3\n```\n"]
    poor += [
        ":::{figure} a.png\n:name: x\n:alt: Losses\n\nText\n:::\n",
        "```{figure} a.png\n:name: x\n\nText\n```\n",
    ]
    assert [len(poor_pictures(page)) for page in poor] == [1] * len(poor)
    good = "Losses of training and of validation fall"
    for page in (
        f"![{good}](a)",
        f'<img src="a" alt="{good}">',
        f"```{{image}} a\n:width: 3\n:alt: {good}\n```\n",
    ):
        assert not poor_pictures(page) and poor_pictures(page.replace(good, "Losses")) == ["Losses"]
    for name, page in {
        **PAGES,
        "gallery": generated.gallery_page(),
        "examples": generated.examples_page(),
    }.items():
        assert not poor_pictures(page), name


@pytest.mark.parametrize("name", generated.TABLES)
def test_tables_are_fresh(name):
    assert generated.with_table(name) == PAGES[name], "run python docs/generated.py"


def test_topics_of_the_course_can_be_run():
    topics = [topic for part in COURSE.values() for topic in part]
    assert all(topic.run or topic.read or topic.scripts for topic in topics)
    for topic in topics:
        for words in commands(topic.run):
            parse(typer.main.get_command(cli.app), words)


def test_table_of_kernels_is_complete():
    rows = generated.kernel_table().splitlines()[2:]
    assert sum(row.count("`") // 2 for row in rows) == len(generated.read("reference"))


def test_reference_has_everything_public():
    pages = "".join(text for page, text in PAGES.items() if page.startswith("docs/reference/"))
    for name in {*fastrec.__all__} - {"__version__"}:
        end = r"\b" if isinstance(getattr(fastrec, name), ModuleType) else "$"
        assert re.search(rf"fastrec\.{name}{end}", pages, re.MULTILINE), name
    functions = [name for name in fastrec.theory.__all__ if callable(getattr(fastrec.theory, name))]
    assert len(functions) > 9
    for name in functions:
        assert f"fastrec.theory.{name}\n" in pages, name


def test_every_picture_has_a_script_and_a_page():
    pictures = {path.stem for path in ROOT.glob("docs/gallery/*.[ps][nv]g")}
    scripts = {path.stem for folder in ("docs/gallery", "examples") for path in ROOT.glob(f"{folder}/*.py")}
    assert pictures == scripts
    pages = generated.gallery_page() + generated.examples_page()
    assert all(f"./scripts/gallery {name}`" in pages for name in pictures)
