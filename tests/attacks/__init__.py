"""Attacks on fastrec: campaigns of many cases in child processes, each a module of this package.

A campaign has `campaign(count)`, which runs about `count` cases of each of its kinds and yields a `Row` for
each kind; `scripts/attack` prints them.  One that uses `run` below has `attempt(kind, number)` too, which is
called in a child process.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

CAMPAIGNS = ("files", "interruptions", "races", "arguments")
SECONDS = 60  # that a case may take, on a busy machine
MEMORY = 2**33  # bytes of addresses that a child may have; cases look at what is really used


class Row(NamedTuple):
    """Cases of one kind: how many there were, how they ended, those that failed, and the time."""

    kind: str
    tried: int
    endings: Mapping[str, int]
    failures: list[str]
    seconds: float

    def __str__(self) -> str:
        endings = ", ".join(f"{count} {ending}" for ending, count in sorted(self.endings.items()))
        return f"{self.kind:<24} {self.tried:>7} {len(self.failures):>7} {self.seconds:>8.1f}  {endings}"


HEAD = f"{'kind':<24} {'cases':>7} {'failed':>7} {'seconds':>8}  endings"


class Failure(Exception):
    """What a case must not end with."""


def run(campaign: str, counts: Mapping[str, int]) -> Iterator[Row]:
    """Run cases 0, 1, ... of each kind in child processes, a new one after a case has ended one."""
    return (run_kind(campaign, kind, count) for kind, count in counts.items())


def run_kind(campaign: str, kind: str, count: int, workers: int = os.cpu_count() or 1) -> Row:
    begin, lock = time.monotonic(), threading.Lock()
    endings, failures = Counter[str](), list[str]()

    def follow(first: int) -> None:
        for number, ending in outcomes(campaign, kind, first, count, workers):
            with lock:
                name = ending.partition(":")[0]
                endings[name] += 1
                if name == "failed":
                    failures.append(f"{kind} {number}: {ending}")

    threads = [threading.Thread(target=follow, args=(first,)) for first in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Row(kind, endings.total(), endings, sorted(failures), time.monotonic() - begin)


def outcomes(campaign: str, kind: str, first: int, count: int, step: int) -> Iterator[tuple[int, str]]:
    """Numbers of every `step`-th case and how each ended."""
    number = first
    while number < count:
        command = [
            sys.executable,
            "-m",
            "attacks",
            "--worker",
            campaign,
            kind,
            *map(str, (number, count, step)),
        ]
        paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "FASTREC_BACKEND": "reference"}
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        ) as child:
            assert child.stdout is not None and child.stderr is not None
            for line in child.stdout:
                yield number, json.loads(line)
                number += step
            errors = child.stderr.read()
        if number < count:
            last = errors.strip().splitlines()[-1:] or ["no message"]
            yield number, f"failed: the process ended with {child.returncode}, {last[0]}"
            number += step


def work(campaign: str, kind: str, first: int, count: int, step: int) -> None:
    """Run every `step`-th case in this process, and print how each ended."""
    from importlib import import_module

    module = import_module(f"attacks.{campaign}")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a case prints is not taken for an answer
    for number in range(first, count, step):
        signal.alarm(SECONDS)  # ends the process
        try:
            ending = module.attempt(kind, number)
        except Failure as failure:
            ending = f"failed: {failure}"
        signal.alarm(0)
        print(json.dumps(ending), file=out, flush=True)
