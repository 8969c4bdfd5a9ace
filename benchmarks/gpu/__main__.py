"""Check and measure backend "gpu" on the card of this machine, with one process per step.

Writes gpu-<card>.jsonl, one line for each result at once, gpu-<card>.md, the table of the results, and
gpu-<card>.log, the output of the steps. Steps that are not run keep their results. The exit status is 0 if
all steps are ok or skipped, 1 if one is not or a result was not checked, and 2 if nothing could be run.
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import os
import re
import signal
import sys
import tempfile
import time
import traceback
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from . import results, table
from .formatting import one_line
from .log import Log
from .process import Ended, run_limited
from .steps import Step

BENCHMARKS = Path(__file__).parents[1]
TOTAL = 480  # seconds of all steps together
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PROBE = 60  # seconds to ask what the card is


class Refusal(Exception):
    """Raised with a one-sentence reason if nothing can be run."""


class Interrupted(BaseException):
    """Raised by a signal that ends the run."""


class Parser(argparse.ArgumentParser):
    """Argument parser that reports errors in one sentence, without the usage."""

    def error(self, message: str) -> NoReturn:
        raise Refusal(message)


class Check:
    """A run of steps on one card."""

    def __init__(self, options: argparse.Namespace, machine: dict[str, Any]) -> None:
        name = re.sub(r"[^a-z0-9]+", "-", str(machine.get("card", "unknown card")).lower()).strip("-")
        stem = f"gpu-{name.removeprefix('nvidia-')}{'-small' if options.small else ''}"
        self.path, self.markdown = (options.out / f"{stem}.{kind}" for kind in ("jsonl", "md"))
        self.log = Log(options.out / f"{stem}.log")
        self.options, self.machine = options, machine
        self.end = time.monotonic() + options.total
        self.statuses: dict[str, str] = {}
        self.append(machine)

    def append(self, line: dict[str, Any]) -> None:
        """Append a line to the results and rewrite the table; a full disk does not end the run."""
        try:
            results.append(self.path, line)
            self.markdown.write_text(self.table(), encoding="utf-8")
        except OSError as error:
            self.log.say(f"gpu-check: results cannot be written: {error}")

    def table(self) -> str:
        """Return the table of the results; a faulty line written by a step does not end the run."""
        try:
            return table.table(results.read(self.path))
        except Exception:
            return f"The table could not be made:\n\n{traceback.format_exc()}"

    def run(self, step: Step) -> None:
        """Run a step in a separate process and append its status."""
        left = self.end - time.monotonic()
        limit = min(self.options.limit or step.limit, left)
        line = {"step": step.name, "commit": self.machine.get("commit")}
        if left < 1:
            error = f"not begun: no time was left of {self.options.total:g} s"
            self.finish(line | {"status": "timed out", "error": error})
            return
        self.append(line | {"status": "running"})
        self.log.say(f"== {step.name}: {step.about}; at most {limit:.4g} s ==")
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        begin = time.monotonic()
        task = {
            "step": step.name,
            "steps": self.options.steps,
            "path": str(self.path),
            "small": self.options.small,
            "deadline": begin + limit,
            "outcome": writer,
            "bus": self.machine.get("bus"),
        }
        command = [sys.executable, "-m", f"{__package__}.step", json.dumps(task)]
        line["status"] = "interrupted"
        try:
            ended = run_limited(command, limit, self.log.write, keep=(writer,))
            line |= self.status(step.name, ended, limit, reader)
        except OSError as error:
            line |= {"status": "failed", "error": f"could not be started: {error}"}
        finally:
            os.close(reader)
            os.close(writer)
            self.log.end()
            self.finish({"seconds": time.monotonic() - begin} | line)

    def status(self, step: str, ended: Ended, limit: float, reader: int) -> dict[str, Any]:
        """Return the status of a step, from the end of its process and from what it wrote to a pipe."""
        try:
            outcome = json.loads(os.read(reader, 1 << 16).splitlines()[-1])
        except (BlockingIOError, ValueError):
            outcome = {}
        line = {"seconds": ended.seconds} | {key: outcome[key] for key in ("clocks",) if key in outcome}
        rows = results.read(self.path).rows_of(step)
        last = f"; its last row is {rows[-1]['name']!r}" if rows else ""
        if ended.timed_out:
            killed = "" if ended.exit is not None else ", could not be killed"
            error = f"ended at its limit of {limit:.4g} s{killed}{last}"
            return line | {"status": "timed out", "error": error}
        exit_status = ended.exit or 0
        if exit_status < 0 or "status" not in outcome or (outcome["status"] != "failed" and exit_status):
            how = {"exit": exit_status} if exit_status >= 0 else {"signal": signal_name(-exit_status)}
            when = " after its work" if "status" in outcome else " and did not say how it went"
            error = f"ended with {describe(exit_status)}{when if exit_status >= 0 or outcome else ''}{last}"
            return line | {"status": "died", **how, "error": error}
        line |= {key: outcome[key] for key in ("status", "error") if key in outcome}
        ends = [f"{name!r} {how}" for name, how in self.statuses.items() if how in ("died", "timed out")]
        if outcome.get("lost") and ends:
            line["error"] += f"; the card may be lost since step {ends[-1]}"
        return line

    def finish(self, line: dict[str, Any]) -> None:
        """Append and print the status of a step."""
        self.statuses[line["step"]] = line["status"]
        self.append(line | {"date": now()})
        seconds = f", {line['seconds']:.1f} s" if "seconds" in line else ""
        error = f": {line['error']}" if "error" in line else ""
        self.log.say(f"gpu-check: {line['step']}: {line['status']}{seconds}{error}")

    def summary(self) -> int:
        """Print the table and its path, and return the exit status."""
        self.log.say(f"\n{self.table()}\ngpu-check: results are in {self.path} and {self.markdown}")
        written = results.read(self.path)
        rows = [row for step in self.statuses for row in written.rows_of(step)]
        return int(not {*self.statuses.values()} <= {"ok", "skipped"} or any(map(table.unchecked, rows)))


def main() -> int:
    try:
        return check()
    except Refusal as reason:
        print(f"gpu-check: {reason}", file=sys.stderr)
        return 2
    except Interrupted as interrupt:
        return 128 + int(interrupt.args[0])


def check() -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    for number in SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # of nohup
            signal.signal(number, interrupt)
    options = parse()
    steps: tuple[Step, ...] = importlib.import_module(options.steps).STEPS
    if options.list:
        print(listing(steps))
        return 0
    chosen = choose(steps, options.only)
    if options.table:
        if not options.out.is_dir():
            raise Refusal(f"--out {options.out} is not a folder: name one with results to make tables of")
        table.write_readme(BENCHMARKS / "README.md", options.out)
        return 0
    machine = probe()
    require_folder(options.out)
    run = Check(options, machine)
    try:
        for step in chosen:
            run.run(step)
    finally:
        status = run.summary()
    return status


def parse() -> argparse.Namespace:
    parser = Parser(
        "scripts/gpu-check", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--list", action="store_true", help="print the steps and exit")
    add("--table", action="store_true", help="copy the tables in FOLDER to benchmarks/README.md, exit")
    add(
        "--only",
        nargs="+",
        action="extend",
        metavar="STEP",
        help="run these steps instead of the default ones",
    )
    add("--out", type=Path, default=BENCHMARKS / "results", metavar="FOLDER", help="folder of results")
    add("--small", action="store_true", help="use small sizes, as a quick test")
    add("--limit", type=seconds, metavar="SECONDS", help="time limit of every step")
    add(
        "--total",
        type=seconds,
        default=TOTAL,
        metavar="SECONDS",
        help="limit of all steps (default: %(default)s)",
    )
    add("--steps", default="gpu.steps", help=argparse.SUPPRESS)
    return parser.parse_args()


def seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < 1e6:
        raise ValueError
    return value


def listing(steps: tuple[Step, ...]) -> str:
    width = max(len(step.name) for step in steps)
    text = [
        f"{step.name:{width}}  {'default' if step.default else '       '}  {step.limit:4d} s  {step.about}"
        for step in steps
    ]
    expected = sum(step.expected for step in steps if step.default)
    return "\n".join([*text, f"Default steps are expected to take {expected} s together."])


def choose(steps: tuple[Step, ...], names: list[str] | None) -> list[Step]:
    """Return the steps with these names, or the default steps, in their order."""
    known = [step.name for step in steps]
    if unknown := [name for name in names or () if name not in known]:
        raise Refusal(f"no step is named {', '.join(map(repr, unknown))}; there are {', '.join(known)}")
    return [step for step in steps if (step.name in names if names else step.default)]


def require_folder(out: Path) -> None:
    """Create the folder of results and check that it is writable."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise Refusal(f"--out {out} is not a folder that can be written to: {error.strerror}") from None


def probe() -> dict[str, Any]:
    """Return what a separate process reports about the card; unlike this process, it may hang or die."""
    printed = bytearray()
    ended = run_limited([sys.executable, "-m", f"{__package__}.machine"], PROBE, printed.extend)
    machine: dict[str, Any] = {"date": now()}
    for text in printed.decode(errors="replace").splitlines():
        try:
            machine |= json.loads(text)
        except (ValueError, TypeError):  # a warning
            continue
    if ended.exit != 0:
        how = f"no answer in {PROBE} s" if ended.timed_out else describe(ended.exit or 0)
        machine["unavailable"] = f"CUDA could not be asked about the card: {how}"
    elif "capability" not in machine:
        raise Refusal(one_line(machine.get("unavailable", "no card here")))
    return {"card": "unknown card"} | machine


def describe(exit_status: int) -> str:
    return f"exit status {exit_status}" if exit_status >= 0 else f"signal {signal_name(-exit_status)}"


def signal_name(number: int) -> str:
    return signal.Signals(number).name if number in set(signal.Signals) else str(number)


def now() -> str:
    return datetime.now().isoformat(timespec="seconds")


def interrupt(number: int, frame: FrameType | None) -> None:
    """End the current step; further signals do not prevent the table from being written."""
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise Interrupted(number)


if __name__ == "__main__":
    sys.exit(main())
