"""Records of measurements, one file of results/ for each machine, and the tables made of them in README.md
and in the README of the project.

python benchmarks/records.py   updates both

A record holds runs, each with the rows that no later run has replaced.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from fastrec.bench.timing import format_count, format_seconds, format_share
from fastrec.validation import format_bytes

HERE = Path(__file__).parent
RESULTS, README = HERE / "results", HERE / "README.md"
FRONT_PAGE = HERE.parent / "README.md"
SCAN = re.compile(r"first-failure trial, n = (\d+)")
JOB_COLUMNS = ("job", "fastrec", "baseline", "", "ratio", "noise", "goal", "of SGEMM", "first call")
# What the front page and its picture show: jobs in words, and how the names of their rows begin.
HEADLINES = {
    "one trial of capacity, n = 1000": "first-failure trial, n = 1000",
    "one trial of capacity, n = 10 000": "first-failure trial, n = 10000",
    "recall of one probe, n = 10 000, p = 1000": (
        "store and recall, n = 10000, p = 1000, 100 probes, 10 % flipped (per probe), fields kept"
    ),
    "overlaps of 2048 with 2048 patterns, n = 4096": "binary product",
    "store 1000 patterns, n = 4096, with couplings": "store p = 1000",
    "Elman, 32 x 100 steps, 256 units, forward and BPTT": "elman B=32 I=64 H=256, forward and backward",
    "GRU, the same": "gru B=32 I=64 H=256, forward and backward",
    "LSTM, the same": "lstm B=32 I=64 H=256, forward and backward",
    "training step of a text model, GRU of 512 units": "training step, GRU H=512",
    "generate one character, GRU of 512 units": "character of 1 sample, GRU H=512, weights float32",
}
RIVALS = {"NumPy": "NumPy", "Numba": "Numba", "torch": "PyTorch", "jax": "JAX"}

Row = dict[str, Any]
Run = dict[str, Any]


def machine_name(machine: str) -> str:
    """Return the name of the record of a machine: its model, without uninformative parts.

    >>> machine_name("Intel(R) Xeon(R) Platinum 8488C CPU @ 2.40GHz, 2 cores")
    'intel-xeon-platinum-8488c'
    """
    model = machine.rpartition(",")[0] or machine
    model = re.sub(r"\((r|tm)\)|@.*|\d+-core|\b(cpu|processor)\b", " ", model.lower())
    return "-".join(re.findall(r"[a-z0-9.]+", model))


def record_of(machine: str) -> Path:
    """Return the path of the record of a machine, which need not exist."""
    return RESULTS / f"{machine_name(machine)}.json"


def runs_of(path: Path) -> list[Run]:
    """Return the runs in a file: a record, or a single run as in history/."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return content.get("runs", [content])


def records() -> list[list[Run]]:
    """Return the runs of each machine, by name of the machine."""
    return [runs_of(path) for path in sorted(RESULTS.glob("*.json"))]


def rows_of(path: Path) -> list[Row]:
    """Return all rows of the runs in a file."""
    return [row for run in runs_of(path) for row in run["rows"]]


def title(run: Run) -> str:
    """Return the machine of a run, the version of fastrec and the date, as text."""
    return f"{run['machine']}; fastrec {run['version']} ({run['commit']}), {run['date']}"


def write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def add(run: Run) -> Path:
    """Add a run to the record of its machine, replacing earlier measurements of the same jobs."""
    path = record_of(run["machine"])
    names = {row["name"] for row in run["rows"]}
    runs = [
        {**earlier, "rows": [row for row in earlier["rows"] if row["name"] not in names]}
        for earlier in (runs_of(path) if path.exists() else [])
    ]
    write(path, {"runs": [*(earlier for earlier in runs if earlier["rows"]), run]})
    write(RESULTS / "history" / f"{run['date']}-{run['commit']}-{path.name}", run)
    return path


def lines_of(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    head, *body = [f"| {' | '.join(line)} |" for line in (columns, *rows)]
    return [head, "|---" * len(columns) + "|", *body]


def job_table(rows: list[Row]) -> list[str]:
    """Return a table with a row for each job of a run."""
    return lines_of(
        JOB_COLUMNS,
        [
            (
                row["name"],
                format_seconds(row["ours_s"]),
                format_seconds(row["baseline_s"]),
                row["against"],
                f"**{row['ratio']:.3g}**",
                f"{row['noise']:.1%} of {row['rounds']}" if "noise" in row else "",
                f"{row['goal']:.3g}" if row["goal"] else "",
                f"{row['share']:.0%}" if row["share"] else "",
                format_seconds(row["first_call_s"]),
            )
            for row in rows
        ],
    )


def ratio_table(machines: list[list[Run]]) -> list[str]:
    """Return a table of ratios with a row for each job and a column for each machine."""
    heads = [runs[-1]["machine"] for runs in machines]
    cells: dict[str, dict[str, list[str]]] = {}
    for head, runs in zip(heads, machines, strict=True):
        for row in (row for run in runs for row in run["rows"] if not SCAN.match(row["name"])):
            cell = cells.setdefault(row["name"], {}).setdefault(head, [])
            cell.append(f"**{row['ratio']:.3g}** x {row['against']}")
    rows = [(name, *("; ".join(found.get(head, ())) for head in heads)) for name, found in cells.items()]
    return lines_of(("job", *heads), rows)


def headline(runs: list[Run], name: str) -> Row | None:
    """Return the first row of a machine whose name begins so, unless it was not measured there."""
    return next((row for run in runs for row in run["rows"] if row["name"].startswith(name)), None)


def rival(row: Row) -> str:
    """Return the package that a row is compared with."""
    return RIVALS[row["against"].split()[0]]


def front_table(machines: list[list[Run]]) -> list[str]:
    """Return the table of the front page: times and ratios with a row for each headline."""
    rows = []
    for job, name in HEADLINES.items():
        found = [headline(runs, name) for runs in machines]
        rivals = dict.fromkeys(rival(row) for row in found if row)
        cells = (f"{format_seconds(row['ours_s'])}, **{row['ratio']:.3g}** x" if row else "" for row in found)
        rows.append((job, ", ".join(rivals), *cells))
    return lines_of(("job", "beside", *(runs[-1]["machine"] for runs in machines)), rows)


def scan_cell(row: Row) -> str:
    """Return the time of a trial, the fractions of the peak rates, and the ratio to the baseline, as text."""
    shares = ", ".join(format_share(share) for share in row.get("shares", {}).values())
    time = f"{format_seconds(row['ours_s'])} ({shares})" if shares else format_seconds(row["ours_s"])
    return f"{time}, **{row['ratio']:.3g}** x {row['against'].split(' incremental')[0]}"


def scan_table(machines: list[list[Run]]) -> list[str]:
    """Return a table with a row for each size and a column for each machine."""
    heads, cells, counts = [], {}, {}
    for runs in machines:
        found = [(run, row, SCAN.match(row["name"])) for run in runs for row in run["rows"]]
        scans = {int(match[1]): (run, row) for run, row, match in found if match}
        if scans:
            heads.append("<br>".join(dict.fromkeys(title(run) for run, _ in scans.values())))
            for n, (_, row) in scans.items():
                cells[n, heads[-1]] = scan_cell(row)
                if "operations" in row:
                    counts[n] = (*map(format_count, row["operations"].values()), format_bytes(row["bytes"]))
    rows = [
        (
            str(n),
            *counts.get(n, ("", "", "")),
            *(cells.get((n, head), "") for head in heads),
        )
        for n in sorted({n for n, _ in cells})
    ]
    return lines_of(("n", "patterns added", "products of bits", "bytes", *heads), rows)


def with_tables(page: str, machines: list[list[Run]]) -> str:
    """Return a page with those tables of these records for which it has marks."""
    jobs = []
    for run in (run for runs in machines for run in runs):
        rows = [row for row in run["rows"] if not SCAN.match(row["name"])]
        if rows:
            jobs += [f"{title(run)}; NumPy {run['numpy']}, Numba {run['numba']}", "", *job_table(rows), ""]
    tables = {
        "speed": front_table(machines),
        "ratios": ratio_table(machines),
        "jobs": jobs[:-1],
        "scan": scan_table(machines),
    }
    for name, lines in tables.items():
        if f"<!-- {name} -->" not in page:
            continue
        begin, end = f"<!-- {name} -->\n", f"<!-- {name} end -->"
        before, _, rest = page.partition(begin)
        page = "\n".join([before + begin + lines[0], *lines[1:], end + rest.partition(end)[2]])
    return page


def update_pages() -> None:
    for page in (README, FRONT_PAGE):
        page.write_text(with_tables(page.read_text(encoding="utf-8"), records()), encoding="utf-8")


if __name__ == "__main__":
    update_pages()
