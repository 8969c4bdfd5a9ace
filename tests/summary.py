"""What a run says at its end: skipped tests and why, kernels that nothing ran, the files that took longest.

A complete run, whose command line names no test, fails where a test was skipped for a reason that is not in
skips.toml, and where no test ran a kernel; without ``--all``, a template with each of its arguments, not each
instance.
"""

from __future__ import annotations

import csv
import os
import re
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import devices
import pytest

LISTED = Path(__file__).parent / "skips.toml"
CHOOSING = ("keyword", "markexpr", "lf", "deselect", "ignore", "ignore_glob", "stepwise", "collectonly")
SLOWEST = 30  # files that are named


class Summary:
    """A plugin of pytest; with xdist there is one in each worker, and one that hears of all tests."""

    def __init__(self, config: pytest.Config, backends: tuple[str, ...]) -> None:
        self.config, self.backends = config, backends
        self.ran: set[str] = set()
        self.left_out = 0
        self.seconds: Counter[str] = Counter()
        self.faults: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid.partition("::")[0]] += report.duration
        if report.failed and not hasattr(self.config, "workerinput"):
            # At once, because a run that is ended from outside never writes its summary.
            reporter = self.config.pluginmanager.get_plugin("terminalreporter")
            reporter.write(f"\n{report.nodeid} failed ({report.when}):\n{report.longreprtext}\n")

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        output = getattr(node, "workeroutput", {})
        self.ran.update(output.get("ran", ()))
        self.left_out = max(self.left_out, output.get("left_out", 0))

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        self.ran |= devices.kernels_that_ran()
        if hasattr(self.config, "workeroutput"):
            self.config.workeroutput |= {"ran": sorted(self.ran), "left_out": self.left_out}
        elif self.complete():
            self.faults = [f"skipped, but not listed in {LISTED.name}: {x}" for x in self.unlisted()]
            if exitstatus == pytest.ExitCode.OK:
                kernels, ran = devices.kernels_to_run(self.backends), self.ran
                if not self.config.option.all:
                    kernels, ran = devices.each_argument(kernels), devices.each_argument(ran)
                self.faults += [f"no test ran {kernel}" for kernel in sorted(kernels - ran)]
                if self.faults:
                    session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def complete(self) -> bool:
        """Whether the command line leaves the choice of tests to the project."""
        option, sources = self.config.option, pytest.Config.ArgsSource
        return self.config.args_source is not sources.ARGS and not any(getattr(option, x) for x in CHOOSING)

    def reasons(self) -> Counter[str]:
        """How many tests, or files of tests, were skipped for each reason."""
        reporter = self.config.pluginmanager.get_plugin("terminalreporter")
        reports = {report.nodeid: report for report in reporter.stats.get("skipped", ())}
        return Counter(report.longrepr[2].removeprefix("Skipped: ") for report in reports.values())

    def unlisted(self) -> list[str]:
        """The reasons that skips.toml does not list for such a run."""
        option = self.config.option
        applies = {
            "always": True,
            "outside CI": "CI" not in os.environ,
            "without --all": not option.all,
            "without --torch": not option.torch,
        }
        listed = tomllib.loads(LISTED.read_text(encoding="utf-8"))
        patterns = [pattern for section in listed if applies[section] for pattern in listed[section]]
        return [reason for reason in self.reasons() if not any(re.search(p, reason) for p in patterns)]

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if reasons := self.reasons():
            terminalreporter.section(f"{reasons.total()} skipped")
            for reason, number in reasons.most_common():
                terminalreporter.write_line(f"{number:5}  {reason}")
        if self.config.option.all:
            self.write_slowest(terminalreporter)
        elif self.left_out:
            terminalreporter.write_line(f"{self.left_out} tests are left to --all")
        for fault in self.faults:
            terminalreporter.write_line(fault, red=True)

    def write_slowest(self, terminalreporter: Any) -> None:
        """The seconds of each file, in the cache of pytest; those of the slowest are printed, too."""
        path = self.config.cache.mkdir("seconds") / "files.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("file", "seconds"), *self.seconds.most_common()])
        terminalreporter.section(f"seconds of the {SLOWEST} slowest files; all are in {path}")
        for name, seconds in self.seconds.most_common(SLOWEST):
            terminalreporter.write_line(f"{seconds:8.1f}  {name}")
