"""Strokes of a pen: read from files, and as the steps that a network reads."""

from __future__ import annotations

import csv
import math
import os
import re
from array import array
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO
from xml.parsers import expat

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..backend import move
from ..files import DamagedFile, require_file, require_suffix
from ..messages import printable, shown
from ..rnn.config import MAX_SIZE
from ..rnn.validation import as_array
from ..validation import as_bool, as_path, number, require_memory

Stroke = NDArray[np.float64]
# In both each character can be matched in one way, as others take time that grows as the square of a file.
NUMBER = re.compile(r"[+-]?(\d+(?:\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
# A value of InkML: what it is a difference of, and the number, or one of the signs for no number.
VALUE = re.compile(rf"\s*(?:(?:([!'\"])\s*)?({NUMBER.pattern}|[*?TF])|(,)|(\S))", re.ASCII)


def read_ink(path: str | os.PathLike[str], *, timed: bool = True) -> list[Stroke]:
    r"""Read the strokes of a pen from a file of InkML or CSV.

    Of InkML (W3C, 2011) the traces of a pen that is down are read, with the channels X, Y and T, also where
    they are differences; without a trace format, points are X and Y. Traces without points are left out. A
    file of CSV has a line with the names of its columns, of which "stroke", "x", "y" and perhaps "t" are
    read, and a line for each point; a stroke ends where the next line has another value in the column
    "stroke".

    Parameters
    ----------
    path : path
        The file, with the suffix .inkml or .csv.
    timed : bool, default True
        Whether to read the times of points, where the file has any. If not, points are 1 apart, and strokes
        2.

    Returns
    -------
    list of ndarray of shape (m, 3)
        For each stroke x, y and time of its m points, float64, in the units of the file. With most devices y
        grows downwards.

    Raises
    ------
    ValueError
        If the file is of another kind, is damaged, holds no points, or has times that go back; the message
        names the line.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> with open("seven.csv", "w") as file:
    ...     _ = file.write("stroke,x,y,t\n1,0,0,0\n1,5,0,20\n1,2,9,50\n2,1,4,70\n2,5,4,85\n")
    >>> for stroke in fastrec.read_ink("seven.csv"):
    ...     print(stroke.tolist())
    [[0.0, 0.0, 0.0], [5.0, 0.0, 20.0], [2.0, 9.0, 50.0]]
    [[1.0, 4.0, 70.0], [5.0, 4.0, 85.0]]
    """
    path, timed = Path(as_path("path", path)), as_bool("timed", timed)
    require_suffix(path, ".inkml", ".csv")
    require_file(path)
    points = Points(path, timed)
    if path.suffix.lower() == ".csv":
        read_csv(path, points)
    else:
        with open(path, "rb") as file:
            InkML(points).read(file)
    if not points.values:
        raise DamagedFile(f"{printable(path)} holds no points; give a file with strokes")
    return points.strokes()


class Points:
    """Points of strokes that are read one after the other, in 24 bytes each."""

    def __init__(self, path: Path, timed: bool) -> None:
        self.path = path
        self.timed = timed
        self.values: array[float] = array("d")
        self.begins: array[int] = array("q")

    def fault(self, line: int, text: str) -> DamagedFile:
        """The error of a line of the file."""
        return DamagedFile(f"{printable(self.path)}, line {line}: {text}")

    def add(self, line: int, x: float, y: float, t: float | None = None) -> None:
        """Add a point to the last stroke."""
        before = self.values[-1] if self.values else None
        if t is None:
            t = 0.0 if before is None else before + 1 + (len(self.values) == 3 * self.begins[-1])
        if not abs(x) + abs(y) + abs(t) < math.inf:
            raise self.fault(line, "a number is too large; write it in other units")
        if before is not None and t < before:
            raise self.fault(
                line, f"the time {t:g} comes after {before:g}; read the file with timed=False, without times"
            )
        self.values.extend((x, y, t))

    def begin(self) -> None:
        """Begin a stroke."""
        self.begins.append(len(self.values) // 3)

    def strokes(self) -> list[Stroke]:
        """The strokes that have been read."""
        return np.split(np.frombuffer(self.values).reshape(-1, 3), self.begins[1:])


def read_csv(path: Path, points: Points) -> None:
    """Read points from a table."""

    def value(name: str) -> float:
        text = row[column[name]].strip()
        if not NUMBER.fullmatch(text):
            raise points.fault(rows.line_num, f"{name} is {shown(text)}; it must be a number")
        return float(text)

    with open(path, encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, strict=True)
        try:
            names = [name.strip() for name in next(rows, [])]
            column = {name: j for j, name in enumerate(names)}
            if not column.keys() >= {"stroke", "x", "y"}:
                raise points.fault(1, f"the columns are {shown(names)}; they must have stroke, x and y")
            for name in ("stroke", "x", "y", "t"):
                if names.count(name) > 1:
                    raise points.fault(1, f"the column {name} is there {names.count(name)} times; leave one")
            last, timed = None, points.timed and "t" in column
            for row in rows:
                if not row:
                    continue
                if len(row) != len(names):
                    raise points.fault(rows.line_num, f"there are {len(row)} values for {len(names)} columns")
                if row[column["stroke"]] != last:
                    last = row[column["stroke"]]
                    points.begin()
                points.add(rows.line_num, value("x"), value("y"), value("t") if timed else None)
        except UnicodeDecodeError:
            raise DamagedFile(f"{printable(path)} is not UTF-8 text; save it as such") from None
        except csv.Error as error:
            raise points.fault(rows.line_num, f"the table cannot be read: {printable(error)}") from None


class Channel:
    """The values of a channel of InkML, which may be given as differences of first or second order."""

    def __init__(self) -> None:
        self.order: int = 0
        self.given: float = math.nan
        self.change: float = math.nan
        self.value: float = math.nan

    def read(self, prefix: str | None, text: str) -> None:
        """Read the next value; "*" repeats the number before, "?" is one that is not known."""
        if prefix:
            self.order = "!'\"".index(prefix)
        if text != "*":
            self.given = float(text) if text not in "?TF" else math.nan
        if self.order == 0:
            self.change, self.value = self.given - self.value, self.given
        else:
            self.change = self.given if self.order == 1 else self.change + self.given
            self.value += self.change


class InkML:
    """Reads the traces of a document of InkML."""

    def __init__(self, points: Points) -> None:
        self.points = points
        self.parser: expat.XMLParserType = expat.ParserCreate(namespace_separator=" ")
        parser = self.parser
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = self.refuse_doctype
        parser.StartElementHandler, parser.EndElementHandler = self.start, self.end
        self.inside: bool = False  # of the root
        self.format: list[str] | None = None  # the channels that each point has; None: not said yet
        self.channels: list[str] | None = None  # of the trace format that is being read
        self.line: int = 0  # of the last trace, as the next
        self.text: list[str] = [""]

    def read(self, file: BinaryIO) -> None:
        """Read a document."""
        try:
            self.parser.ParseFile(file)
        except DamagedFile:
            raise
        except (expat.ExpatError, LookupError, ValueError) as error:  # also of an encoding that is not known
            raise self.fault(f"the file is not XML: {printable(error)}") from None

    def fault(self, text: str) -> DamagedFile:
        """The error of what is being read."""
        return self.points.fault(self.parser.CurrentLineNumber, text)

    def refuse_doctype(self, *declared: object) -> None:
        """Refuse what may declare entities, with which a small file can stand for a large one."""
        raise self.fault("the file declares a document type; remove the declaration")

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """Begin an element."""
        name = name.rpartition(" ")[2]
        if not self.inside and name != "ink":
            raise self.fault(f"the root of the document is {shown(name)}; in InkML it is ink")
        self.inside = True
        if name == "traceFormat":
            self.channels = []
        elif name == "intermittentChannels":
            self.end("traceFormat")  # they come last, and points may go without
        elif name == "channel" and self.channels is not None:
            self.channels.append(attributes.get("name", ""))
        elif name == "trace":
            if "continuation" in attributes:
                raise self.fault("the trace continues another one; join them to one trace")
            self.line, self.text = self.parser.CurrentLineNumber, []
            if attributes.get("type", "penDown") != "penUp":
                self.parser.CharacterDataHandler = self.text.append

    def end(self, name: str) -> None:
        """End an element."""
        name = name.rpartition(" ")[2]
        if name == "traceFormat" and self.channels is not None:
            if self.format is None and {"X", "Y"} <= {*self.channels}:
                self.format = self.channels
            if self.channels != self.format:
                raise self.fault(
                    f"the channels are {shown(self.channels)}; give X and Y, in one format before all traces"
                )
            self.channels = None
        elif name == "trace":
            self.format = self.format or ["X", "Y"]
            if self.parser.CharacterDataHandler:
                self.trace("".join(self.text))
            self.parser.CharacterDataHandler = None

    def trace(self, text: str) -> None:
        """Read the points of a trace."""
        channels = {name: Channel() for name in self.format or ()}
        needed = [name for name in ("X", "Y", "T") if name in channels and (name != "T" or self.points.timed)]
        names, count = [*channels], 0
        text = text.strip().removesuffix(",")
        if not text:
            return
        self.points.begin()
        # A comma at the end, so that each point has one.
        for found in VALUE.finditer(f"{text.rstrip()},"):
            prefix, value, _, _, comma, other = found.groups()
            if other:
                raise self.points.fault(self.line, f"the trace has {shown(other)} where a number should be")
            if value and count < len(names):
                channels[names[count]].read(prefix, value)
            count += bool(value)
            if comma:
                if count < len(names):
                    raise self.points.fault(self.line, f"a point has {count} values for {shown(names)}")
                for name in needed:
                    if math.isnan(channels[name].value):
                        raise self.points.fault(self.line, f"a point has no number for {name}")
                self.points.add(self.line, *(channels[name].value for name in needed))
                count = 0


def pen_steps(strokes: Sequence[ArrayLike], interval: float, *, scale: float = 1.0) -> NDArray[np.float32]:
    """Return the movements of a pen at equal times, as networks read them.

    Between the points of strokes, and from each stroke to the next, the pen is taken to move at constant
    speed.

    Parameters
    ----------
    strokes : sequence of array_like of shape (m, 3)
        For each stroke x, y and time of its m points, with times that do not go back, as `read_ink` returns
        them.
    interval : float
        Time of a step, in the unit of the times.
    scale : float, default 1.0
        Length that becomes 1, in the unit of x and y, such as the height of the letter x.

    Returns
    -------
    ndarray of shape (t, 3)
        float32: the movement in x and in y, and 1 where the pen was up at some time of the step, otherwise 0.

    Raises
    ------
    ValueError
        For invalid arguments, and for movements that are too large for float32 or do not fit into memory.

    Examples
    --------
    >>> strokes = [[[0, 0, 0], [4, 0, 20]], [[6, 2, 30], [6, 4, 40]]]
    >>> fastrec.pen_steps(strokes, 10)
    array([[2., 0., 0.],
           [2., 0., 0.],
           [2., 2., 1.],
           [0., 2., 0.]], dtype=float32)
    """
    interval, scale = number("interval", interval, 0), number("scale", scale, 0)
    ink = check_strokes(strokes)
    points = np.concatenate(ink)
    t = points[:, 2]
    span = float(t[-1]) - float(t[0])
    count = max(1.0, np.ceil(span / interval * (1 - 1e-12)))
    if not count < MAX_SIZE:
        raise ValueError(f"interval is {interval:g}, and the strokes take {span:g}; give a longer one")
    require_memory("the steps", int(80 * count))
    at = t[0] + interval * np.arange(int(count) + 1)
    steps = np.zeros((len(at) - 1, 3), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for i in range(2):
            steps[:, i] = np.diff(np.interp(at, t, points[:, i])) / scale
    if not np.isfinite(steps).all():
        raise ValueError(
            f"scale is {scale:g}, with which movements are too large for float32; give a larger one"
        )
    for before, after in pairwise(ink):
        first = min(np.searchsorted(at, before[-1, 2], "right"), len(steps)) - 1
        last = np.searchsorted(at, after[0, 2], "left")
        steps[first : max(first + 1, last), 2] = 1
    return steps


def check_strokes(strokes: Sequence[ArrayLike]) -> list[Stroke]:
    """The strokes as arrays; ValueError unless there are some, of finite numbers, with times in order."""
    if isinstance(strokes, str) or not isinstance(strokes, Sequence) or not len(strokes):
        raise ValueError(f"strokes is {shown(strokes)}; give a list of arrays (points, 3)")
    last, checked = -np.inf, []
    for j, stroke in enumerate(strokes):
        points = move(as_array(f"strokes[{j}]", stroke), "cpu")
        if points.ndim != 2 or points.shape[1] != 3 or not len(points) or points.dtype.kind not in "fiu":
            raise ValueError(
                f"strokes[{j}] has shape {points.shape} and dtype {points.dtype}; give numbers (points, 3)"
            )
        points = points.astype(np.float64)
        if not np.isfinite(points).all():
            raise ValueError(f"strokes[{j}] is not finite everywhere; leave such points out")
        t = np.append(last, points[:, 2])
        if (t[1:] < t[:-1]).any():
            raise ValueError(f"strokes[{j}] has times that go back; sort the points, or number them instead")
        last = t[-1]
        checked.append(points)
    return checked
