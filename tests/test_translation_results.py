"""docs/results/translation.py on packages of help pages that are made here."""

from __future__ import annotations

import importlib.util
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

import fastrec

pytest.importorskip("sacrebleu")
SCRIPT = Path(__file__).parents[1] / "docs/results/translation.py"


@pytest.fixture(scope="module")
def script() -> Any:
    spec = importlib.util.spec_from_file_location("translation_results", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def package(path: Path, language: str, pages: dict[str, str]) -> Path:
    """Write a Debian package, an `ar` archive, of pages."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:xz") as tar:
        for name, page in {**pages, "../main.css": "p { }"}.items():
            member = tarfile.TarInfo(f"./usr/share/libreoffice/help/{language}/text/{name}")
            content = page.encode()
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    file = b"!<arch>\n"
    for name, content in (("debian-binary", b"2.0"), ("data.tar.xz", data.getvalue())):
        file += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode()
        file += content + b"\n" * (len(content) % 2)
    path.write_bytes(file)
    return path


def test_paragraphs(script: Any, tmp_path: Path) -> None:
    page = """<p>No identifier.</p><h1 id="hd_id1">A <b>title</b>&amp;</h1>
        <p id="par_id2">Choose <span id="switch"><span hidden="true" id="MACx">Mac</span><span hidden="true"
        id="defaultx">Tools<br>Options</span></span>.<p id="par_id3">Not   closed
        <p id="other">Another</p><p id="par_id4"> </p><p id="par_id3">Again</p>"""
    path = package(tmp_path / "a.deb", "en-US", {"one.html": page})
    texts = {"hd_id1": "A title&", "par_id2": "Choose Tools Options.", "par_id3": "Not closed"}
    assert script.read_pages(path) == {"text/one.html": texts}


def test_pairs_of_sentences(script: Any) -> None:
    english = {
        "a": "One two three. Four five six?",
        "b": "One two three. Four five six.",
        "c": "The same in both.",
        "d": "Too short.",
        "e": "word " * 21,
        "f": "only in English here",
    }
    spanish = {"a": "Uno dos tres. ¿Cuatro cinco seis?", "b": "Uno dos tres, cuatro.", "c": english["c"]}
    spanish |= {"d": "Muy corto así.", "e": "palabra " * 20}
    pairs = [("One two three.", "Uno dos tres."), ("Four five six?", "¿Cuatro cinco seis?")]
    assert list(script.sentence_pairs(english, spanish)) == pairs


def test_packages_that_are_refused(script: Any, tmp_path: Path) -> None:
    path = package(tmp_path / "a.deb", "es", {"one.txt": ""})
    with pytest.raises(ValueError, match=r"a\.deb holds no help pages; give the packages"):
        script.read_pages(path)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ValueError, match=r"a\.deb holds no data\.tar; it may be cut"):
        script.read_pages(path)
    path.write_bytes(b"text")
    with pytest.raises(ValueError, match=r"a\.deb is no Debian package; give a \.deb file"):
        script.read_pages(path)


def test_runs(script: Any, tmp_path: Path) -> None:
    paths = []
    for language, file in (("en", "en-US"), ("es", "es")):
        texts = [f"{fastrec.number_words(n, language)} {language} {language}" for n in range(300)]  # type: ignore[arg-type]
        pages = {
            f"{i}.html": "".join(f'<p id="par_id{n}">{texts[n]}</p>' for n in range(3 * i, 3 * i + 3))
            for i in range(100)
        }
        paths.append(package(tmp_path / f"{language}.deb", file, pages))
    options = {"minutes": 1e-6, "out": tmp_path / "out", "hidden": 8, "embedding": 6, "batch": 32}
    found = {name: script.main(*paths, name, **options) for name in ("general", "none")}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *(f"{name}.{suffix}" for name in ("general", "none") for suffix in ("npz", "json")),
        *("train.tsv", "validation.tsv", "test.tsv", "translation.md", "translation.png"),
    }
    pairs = {
        part: fastrec.read_sentence_pairs(tmp_path / f"out/{part}.tsv") for part in found["none"]["pairs"]
    }
    assert {part: len(some) for part, some in pairs.items()} == {"train": 270, "validation": 15, "test": 15}
    assert len({pair for some in pairs.values() for pair in some}) == 300
    assert found["none"]["epochs"] == 1 and 0 <= found["none"]["BLEU"][5] <= 100
    assert json.loads((tmp_path / "out/none.json").read_text(encoding="utf-8"))["attention"] == "none"
    page = (tmp_path / "out/translation.md").read_text(encoding="utf-8")
    assert "\n| general | " in page and "\n| none | " in page and "\n15. " in page and "![" in page
