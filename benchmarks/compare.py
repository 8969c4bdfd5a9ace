"""Benchmark an earlier commit and this tree alternately: `./scripts/bench --against REVISION`.

python benchmarks/compare.py REVISION [PYTEST ARGUMENT ...]   runs both, twice
python benchmarks/compare.py BEFORE.json AFTER.json           compares what --record wrote in results/
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from records import rows_of, runs_of, title

from fastrec.bench.timing import format_seconds

ROOT = Path(__file__).parents[1]


def measured(tree: Path, arguments: list[str]) -> list[dict[str, Any]]:
    """Run the benchmarks of a tree, which writes its own results, and return their rows."""
    environment = {**os.environ, "PYTHONPATH": str(tree / "src")}
    command = [sys.executable, "-m", "pytest", "-q", "benchmarks", "--record", *arguments]
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"compare: benchmarks failed\n{done.stdout[-3000:]}{done.stderr[-1000:]}")
    results = tree / "benchmarks/results"
    runs = [*results.glob("history/*.json")] or [results / "cpu.json"]  # the oldest trees have no history
    return rows_of(max(runs, key=lambda path: path.stat().st_mtime_ns))


def git(*arguments: str | Path) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"compare: git {arguments[0]} {arguments[-1]} failed")
    return done.stdout


def table(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> str:
    """Return a table of the minimum times of each job in both and their ratio, next to that of the baseline,
    in which only the machine can make a difference."""
    lines = [f"{'job':<76} {'before':>8} {'after':>8} {'faster':>7} {'(baseline)':>10}"]
    for name in dict.fromkeys(row["name"] for row in (*before, *after)):
        old, new = ([row for row in rows if row["name"] == name] for rows in (before, after))
        if not (old and new):
            lines.append(f"{name:<76} only {'after' if new else 'before'}")
        else:
            times, bases = (
                [min(row[key] for row in rows) for rows in (old, new)] for key in ("ours_s", "baseline_s")
            )
            shown = " ".join(f"{format_seconds(s):>8}" for s in times)
            machine = f"({bases[0] / bases[1]:.2f})"
            lines.append(f"{name:<76} {shown} {times[0] / times[1]:7.2f} {machine:>10}")
    return "\n".join(lines)


def main(first: str, *rest: str) -> None:
    if first.endswith(".json") and len(rest) == 1:
        paths = [Path(first), Path(rest[0])]
        for name, path in zip(("before", "after"), paths, strict=True):
            print(f"{name}: {'; '.join(map(title, runs_of(path)))}")
        print(table(*map(rows_of, paths)))
        return
    # What is uncommitted counts, but for files that git does not track.
    revisions = {"before": first, "after": git("stash", "create").strip() or "HEAD"}
    for revision in revisions.values():
        git("rev-parse", "--quiet", "--verify", f"{revision}^{{commit}}")
    rows: dict[str, list[dict[str, Any]]] = {"before": [], "after": []}
    with tempfile.TemporaryDirectory() as folder:
        trees: dict[str, Path] = {}
        try:
            for name, revision in revisions.items():
                git("worktree", "add", "-q", "--detach", Path(folder, name), revision)
                trees[name] = Path(folder, name)
            for _ in range(2):
                for name, tree in trees.items():
                    rows[name] += measured(tree, list(rest))
        finally:
            for tree in trees.values():
                git("worktree", "remove", "--force", tree)
    print(table(rows["before"], rows["after"]))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(*sys.argv[1:])
