"""Strokes of a pen: files of InkML and CSV, movements at equal times, and synthetic handwriting."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pytest

import fastrec
from fastrec.files import DamagedFile
from fastrec.tasks.handwriting import FONTS

NAMESPACE = 'xmlns="http://www.w3.org/2003/InkML"'
XYT = '<traceFormat><channel name="X"/><channel name="Y"/>%s<channel name="T"/></traceFormat>'
# The example of section 3.2.1 of the standard, and what it stands for.
DIFFERENCES = "1125 18432,'23'43,\"7\"-8,3-5,7 -3,6 2,6 8,3 6,2 4,3 6,3 -6"
X = [1125, 1148, 1178, 1211, 1251, 1297, 1349, 1404, 1461, 1521, 1584]
Y = [18432, 18475, 18510, 18540, 18567, 18596, 18633, 18676, 18723, 18776, 18823]


def ink(*parts: str, namespace: str = NAMESPACE) -> str:
    return f"<?xml version='1.0'?>\n<ink {namespace}>\n" + "\n".join(parts) + "\n</ink>\n"


@pytest.fixture
def read(tmp_path: Path) -> Any:
    """Reads strokes, as lists, from a file with this text."""

    def read(text: str | bytes, suffix: str = ".inkml", **options: bool) -> list[Any]:
        path = tmp_path / f"strokes{suffix}"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        strokes = fastrec.read_ink(path, **options)
        assert all(s.dtype == np.float64 and s.ndim == 2 and s.shape[1] == 3 and len(s) for s in strokes)
        return [stroke.tolist() for stroke in strokes]

    return read


def test_inkml(read: Any) -> None:
    traces = ("<trace id='a'>0 1 5, 2 3 6</trace>", "<traceGroup><trace>\n4 5 8 </trace></traceGroup>")
    wanted = [[[0, 1, 5], [2, 3, 6]], [[4, 5, 8]]]
    assert read(ink(XYT % "", *traces)) == wanted
    assert read(ink("<definitions>", XYT % "", "</definitions>", *traces, namespace="")) == wanted
    assert read(ink(XYT % "", XYT % "", traces[0], "<trace type='penUp'>9 9 7</trace>", traces[1])) == wanted
    assert read(ink(XYT % "", *traces).encode("utf-16")) == wanted
    assert read(ink(XYT % "", *traces), timed=False) == [[[0, 1, 0], [2, 3, 1]], [[4, 5, 3]]]
    more = XYT % '<channel name="F"/>'
    assert read(ink(more, "<trace>0 1 .5 5, 2 3 * 6</trace><trace>4 5 ? 8</trace>")) == wanted
    sometimes = "<intermittentChannels><channel name='S'/></intermittentChannels></traceFormat>"
    some = (XYT % "").replace("</traceFormat>", sometimes)
    assert read(ink(some, "<trace>0 1 5 T, 2 3 6</trace><trace>4 5 8 F</trace>")) == wanted


def test_inkml_with_differences(read: Any) -> None:
    (stroke,) = read(ink(f"<trace>{DIFFERENCES}</trace>"))
    assert np.array_equal(stroke, np.stack([X, Y, np.arange(11)], axis=1))
    (stroke,) = read(ink("<trace>1 10, '2 *, * !20, !5 *</trace>"))
    assert stroke == [[1, 10, 0], [3, 10, 1], [5, 20, 2], [5, 20, 3]]
    written = ink("<trace/>", "<trace>1 2, 3 4,</trace>", "<trace> </trace>", "<trace>5 6 , </trace>")
    assert read(written) == [[[1, 2, 0], [3, 4, 1]], [[5, 6, 3]]]


def test_csv(read: Any) -> None:
    wanted = [[[0, 1, 5], [2, 3, 6]], [[4, -5, 8]]]
    assert read("stroke,x,y,t\na,0,1,5\na,2,3,6\n\nb,4,-5,8\n", ".csv") == wanted
    assert read("\ufeffy,t, pressure ,x,stroke\r\n1,5,?,0,7\r\n3,6,,2e0,7\r\n-5,8.,,4,\r\n", ".CSV") == wanted
    assert read('stroke,x,y\n"a,b",0,1\n"a,b",2,3\n,4,-5', ".csv") == [[[0, 1, 0], [2, 3, 1]], [[4, -5, 3]]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: the file is not XML: no element found"),
        ("<ink><trace>1 2</trace>", "line 1: the file is not XML"),
        ("<ink>\n<trace>1 2</trace>\n</inkml>", "line 3: the file is not XML: mismatched tag"),
        (b"<ink>\xff</ink>", "line 1: the file is not XML"),
        (b"<?xml version='1.0' encoding='nothing'?><ink/>", "line 1: the file is not XML: unknown encoding"),
        ("<svg/>", "line 1: the root of the document is 'svg'; in InkML it is ink"),
        (ink(), "holds no points; give a file with strokes"),
        (ink("<trace/>", "<trace> \n</trace>", "<trace>,</trace>"), "holds no points; give a file with"),
        (ink("<trace>1 2,,</trace>"), "line 3: a point has 0 values for ['X', 'Y']"),
        (ink("<trace>1 2, 3</trace>"), "line 3: a point has 1 values for ['X', 'Y']"),
        (ink("<trace>1 2,, 3 4</trace>"), "line 3: a point has 0 values"),
        (
            ink("<trace>1 2</trace>", "<trace>1 two</trace>"),
            "line 4: the trace has 't' where a number should",
        ),
        (ink("<trace>1 nan</trace>"), "line 3: the trace has 'n' where"),
        (ink("<trace>1 \x01</trace>"), "line 3: the file is not XML"),
        (ink("<trace>1 \u0662</trace>"), "line 3: the trace has '\u0662' where"),
        (ink("<trace>1 ?</trace>"), "line 3: a point has no number for Y"),
        (ink("<trace>1 T</trace>"), "line 3: a point has no number for Y"),
        (ink("<trace>1 *</trace>"), "line 3: a point has no number for Y"),
        (ink("<trace>1 '5</trace>"), "line 3: a point has no number for Y"),
        (ink("<trace>1 1e999</trace>"), "line 3: a number is too large; write it in other units"),
        (ink("<trace>1e308 1e308</trace>"), "line 3: a number is too large; write it in other units"),
        (
            ink(XYT % "", "<trace>0 0 5, 0 0 4</trace>"),
            "line 4: the time 4 comes after 5; read the file with",
        ),
        (ink(XYT % "", "<trace>0 0 5</trace><trace>0 0 0</trace>"), "timed=False"),
        (ink(XYT % "", "<trace>0 0 ?</trace>"), "line 4: a point has no number for T"),
        (
            ink("<traceFormat><channel name='Z'/></traceFormat>"),
            "line 3: the channels are ['Z']; give X and Y",
        ),
        (ink("<trace>1 2</trace>", XYT % ""), "line 4: the channels are ['X', 'Y', 'T']"),
        (ink("<trace continuation='end'>1 2</trace>"), "line 3: the trace continues another one; join them"),
        ("<!DOCTYPE ink [\n<!ENTITY a 'a'>]>\n<ink>&a;</ink>", "line 1: the file declares a document type"),
        ("<!DOCTYPE ink SYSTEM 'file:///etc/passwd'>\n<ink/>", "line 1: the file declares a document type"),
        ("<ink>&a;</ink>", "line 1: the file is not XML: undefined entity"),
    ],
)
def test_inkml_that_is_refused(read: Any, tmp_path: Path, text: str | bytes, said: str) -> None:
    with pytest.raises(DamagedFile) as error:
        read(text)
    assert str(tmp_path / "strokes.inkml") in str(error.value) and said in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: the columns are []; they must have stroke, x and y"),
        ("x,y\n1,2\n", "line 1: the columns are ['x', 'y']"),
        ("stroke;x;y\n1;2;3\n", "line 1: the columns are ['stroke;x;y']"),
        ("stroke,x,y\n", "holds no points; give a file with strokes"),
        ("stroke,x,x,y\n1,2,3,4\n", "line 1: the column x is there 2 times; leave one"),
        ("stroke,x,y\n1,2,3\n1,2\n", "line 3: there are 2 values for 3 columns"),
        ("stroke,x,y\n\n1,2,three\n", "line 3: y is 'three'; it must be a number"),
        ("stroke,x,y\n1,nan,3\n", "line 2: x is 'nan'; it must be a number"),
        ("stroke,x,y\n1,1_0,3\n", "line 2: x is '1_0'; it must be a number"),
        ("stroke,x,y\n1,2,\x1b[2J\n", r"line 2: y is '\x1b[2J'; it must be a number"),
        ("stroke,x,y\n1,1e999,3\n", "line 2: a number is too large; write it in other units"),
        (
            "stroke,x,y,t\n1,0,0,2\n1,0,0,1\n",
            "line 3: the time 1 comes after 2; read the file with timed=False",
        ),
        ('stroke,x,y\n"1,2,3\n', "line 2: the table cannot be read"),
        (b"stroke,x,y\n\xff,2,3\n", "is not UTF-8 text; save it as such"),
        ("stroke,x,y\n" + "1" * 200_000 + ",2,3\n", "line 2: the table cannot be read: field larger"),
    ],
)
def test_csv_that_is_refused(read: Any, tmp_path: Path, text: str | bytes, said: str) -> None:
    with pytest.raises(DamagedFile) as error:
        read(text, ".csv")
    assert str(tmp_path / "strokes.csv") in str(error.value) and said in str(error.value)


@pytest.mark.parametrize(
    ("text", "suffix"),
    [
        (ink(f"<trace>1 2{' ' * 30_000}x</trace>"), ".inkml"),
        (ink(f"<trace>{'1' * 30_000}x 2</trace>"), ".inkml"),
        (f"stroke,x,y\n1,2,{'1' * 30_000}x\n", ".csv"),
    ],
    ids=["spaces", "digits", "csv"],
)
def test_long_texts_take_the_time_of_a_look_at_each_character(read: Any, text: str, suffix: str) -> None:
    begin = perf_counter()
    with pytest.raises(DamagedFile, match="number"):
        read(text, suffix)
    assert perf_counter() - begin < 3


def test_what_is_no_file_of_strokes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the suffix must be \.inkml or \.csv, got '\.txt'"):
        fastrec.read_ink(tmp_path / "strokes.txt")
    with pytest.raises(FileNotFoundError):
        fastrec.read_ink(tmp_path / "strokes.csv")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.csv")
        with pytest.raises(OSError, match="is a device or a pipe"):
            fastrec.read_ink(tmp_path / "pipe.csv")


def test_pen_steps() -> None:
    rng = np.random.default_rng(0)
    strokes = [np.column_stack([rng.normal(size=(5, 2)), t + np.sort(rng.random(5))]) for t in (0, 2, 4)]
    steps = fastrec.pen_steps(strokes, 0.01, scale=0.5)
    assert steps.dtype == np.float32 and set(steps[:, 2]) == {0, 1}
    t = np.concatenate(strokes)[:, 2]
    assert len(steps) == np.ceil((t[-1] - t[0]) / 0.01)
    assert np.allclose(steps[:, :2].sum(axis=0) * 0.5, strokes[-1][-1, :2] - strokes[0][0, :2], atol=1e-5)
    at = t[0] + 0.01 * np.arange(len(steps) + 1)
    lifted = [(a[-1, 2], b[0, 2]) for a, b in pairwise(strokes)]
    assert steps[:, 2].tolist() == [
        any(at[k] < b and at[k + 1] > a for a, b in lifted) for k in range(len(steps))
    ]
    # A lift that takes no time still shows; a dot is a step that goes nowhere.
    assert fastrec.pen_steps([[[0, 0, 0], [1, 0, 1]], [[3, 0, 1], [3, 1, 2]]], 1).tolist() == [
        [3, 0, 0],
        [0, 1, 1],
    ]
    assert fastrec.pen_steps([[[3, 4, 5]]], 1).tolist() == [[0, 0, 0]]
    assert fastrec.pen_steps([[[0, 0, 0], [1, 0, 1]], [[3, 0, 1]]], 1).tolist() == [[3, 0, 1]]
    assert len(fastrec.pen_steps([[[0, 0, 0], [1, 0, 0.3]]], 0.1)) == 3
    frozen = strokes[0].astype(">f4")[::-1][::-1]
    frozen.flags.writeable = False
    assert np.allclose(
        fastrec.pen_steps([frozen], 0.1), fastrec.pen_steps([strokes[0].astype(np.float32)], 0.1)
    )


@pytest.mark.parametrize(
    ("strokes", "options", "said"),
    [
        ([], {}, "strokes is []; give a list of arrays"),
        ([0, 0, 0], {}, r"strokes\[0\] has shape \(\)"),
        ([np.zeros((0, 3))], {}, r"strokes\[0\] has shape \(0, 3\) and dtype float64; give numbers"),
        ([[[0, 0, 0]], [[0, 0]]], {}, r"strokes\[1\] has shape \(1, 2\)"),
        ([[[0, 0, np.nan]]], {}, r"strokes\[0\] is not finite everywhere"),
        ([[[0, 0, 1], [0, 0, 0]]], {}, r"strokes\[0\] has times that go back"),
        ([[[0, 0, 1]], [[0, 0, 0]]], {}, r"strokes\[1\] has times that go back"),
        ([[[0, 0, 0]]], {"interval": 0}, "interval is 0; it must be a number above 0"),
        ([[[0, 0, 0]]], {"scale": -1.0}, "scale is -1.0; it must be a number above 0"),
        ([[[0, 0, 0], [0, 0, 1e300]]], {}, "interval is 1, and the strokes take 1e.300; give a longer one"),
        ([[[0, 0, 0], [0, 0, 9]]], {"interval": 1e-308}, "interval is 1e-308, and the strokes take 9; give"),
        ([[[0, 0, -1e308], [0, 0, 1e308]]], {}, "interval is 1, and the strokes take inf; give a longer one"),
        ([[[0, 0, 0], [1e300, 0, 1]]], {}, "scale is 1, with which movements are too large for float32"),
        ([[[-1e308, 0, 0], [1e308, 0, 1]]], {}, "scale is 1, with which movements are too large for float32"),
        ([[[-1e308, 0, 0], [1e308, 0, 1]]], {"interval": 0.3}, "scale is 1, with which movements are too"),
    ],
)
def test_pen_steps_refuses(strokes: Any, options: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("[]", r"\[\]")):
        fastrec.pen_steps(strokes, **{"interval": 1.0, **options})


@pytest.mark.parametrize("font", FONTS)
def test_synthetic_handwriting(font: str) -> None:
    pytest.importorskip("HersheyFonts")
    letters = [chr(code) for code in range(ord("!"), ord("~") + 1)]
    words = fastrec.synthetic_handwriting([*letters, "word"], font, seed=3)
    for strokes in words:
        points = np.concatenate(strokes)
        assert points.shape[1] == 3 and np.isfinite(points).all() and (np.diff(points[:, 2]) >= 0).all()
        assert len(fastrec.pen_steps(strokes, 0.05)) == np.ceil((points[-1, 2] - points[0, 2]) / 0.05)
    again, others = (fastrec.synthetic_handwriting([*letters, "word"], font, seed=seed) for seed in (3, 4))
    same = [
        np.array_equal(a, b) for u, v in zip(words, again, strict=True) for a, b in zip(u, v, strict=True)
    ]
    assert all(same) and not np.array_equal(words[-1][0], others[-1][0])
    # Of lower-case letters without variation, x is one high and the baseline is 0.
    x, d, p = (
        np.concatenate(s)[:, 1]
        for s in fastrec.synthetic_handwriting(["x", "d", "p"], font, variation=0, seed=0)
    )
    assert np.allclose([x.min(), x.max()], [-1, 0], atol=0.1)
    assert d.min() < -1.3 and abs(d.max()) < 0.1 and p.max() > 0.3


def test_fonts_draw_each_line_once() -> None:
    """A letter of a font of thick lines takes about as much ink as one of thin lines."""
    pytest.importorskip("HersheyFonts")

    def length(font: str) -> float:
        (strokes,) = fastrec.synthetic_handwriting(["abcdefghijklmnopqrstuvwxyz"], font, variation=0, seed=0)
        return sum(np.hypot(*np.diff(stroke[:, :2], axis=0).T).sum() for stroke in strokes)

    for font in ("print", "script"):
        assert 0.9 < length(f"{font} bold") / length(font) < 1.15
    assert length("roman bold") / length("print") < 1.5


def test_synthetic_handwriting_refuses() -> None:
    pytest.importorskip("HersheyFonts")
    for words, said in (
        ("word", "words is 'word'"),
        ([1], r"words\[0\] is 1"),
        (["a", "a b"], r"words\[1\]"),
    ):
        with pytest.raises(ValueError, match=said):
            fastrec.synthetic_handwriting(words)
    for options, said in (({"font": "greek"}, "font is 'greek'"), ({"variation": -1}, "variation is -1")):
        with pytest.raises(ValueError, match=said):
            fastrec.synthetic_handwriting(["a"], **options)
