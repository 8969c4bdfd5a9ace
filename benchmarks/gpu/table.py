"""The results of a card as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from .formatting import format_bytes, format_duration, format_quantity, one_line
from .results import Line, Results, is_number, read

# Published: bytes/s of memory; operations/s of int8 and one-bit tensor cores (dense) and of float32.  A
# multiplication and its addition are two operations.  The first name found in that of the card counts.
PUBLISHED = {
    "H200 NVL": {"memory": 4.8e12, "int8": 1.671e15, "float32": 60e12},
    "H200": {"memory": 4.8e12, "int8": 1.979e15, "float32": 67e12},
    "H100 NVL": {"memory": 3.9e12, "int8": 1.671e15, "float32": 60e12},
    "H100 PCIe": {"memory": 2.0e12, "int8": 1.513e15, "float32": 51e12},
    "H100": {"memory": 3.35e12, "int8": 1.979e15, "float32": 67e12},
    "A100-SXM4-80GB": {"memory": 2.039e12, "int8": 624e12, "b1": 4.992e15, "float32": 19.5e12},
    "A100 80GB": {"memory": 1.935e12, "int8": 624e12, "b1": 4.992e15, "float32": 19.5e12},
    "A100": {"memory": 1.555e12, "int8": 624e12, "b1": 4.992e15, "float32": 19.5e12},
}
UNITS = {"b1": "b1 mma", "int8": "int8 mma", "bf16": "bf16 mma", "tf32": "tf32 mma"}
SOFTWARE = {"nvrtc": "NVRTC", "cupy": "CuPy", "numpy": "NumPy", "numba": "Numba", "torch": "PyTorch"}
SOFTWARE |= {"python": "Python"}

MEASURED = (
    *("step", "job", "time", "on the device", "bytes/s", "of copy", "operations/s", "of limit", "memory"),
    *("baseline", "ratio", "goal", "first call", "checked"),
)
SHOWN = 20  # of the rows that were not checked
STEPS = ("step", "status", "seconds", "rows checked", "clocks", "commit")


def write_readme(readme: Path, folder: Path) -> None:
    """Write the tables of all cards in a folder of results between the markers of a README."""
    files = sorted(file for file in folder.glob("gpu-*.jsonl") if not file.stem.endswith("-small"))
    tables = "\n".join(table(read(file)) for file in files) or "Not measured yet.\n"
    before, begin, _, end, after = re.split(
        r"(<!-- gpu table -->\n|<!-- gpu end -->)", readme.read_text(encoding="utf-8")
    )
    readme.write_text(before + begin + tables + end + after, encoding="utf-8")


def table(results: Results) -> str:
    """Return the table of a card: its limits, measurements and the status of the steps."""
    order = {step: i for i, step in enumerate(results.steps)}
    rows = sorted(results.rows.values(), key=lambda row: order.get(row["step"], len(order)))
    measured = [row for row in rows if "wall_s" in row]
    parts = [describe(results.machine)]
    if results.limits:
        parts.append(describe_limits(results))
    if measured:
        parts.append(markdown(MEASURED, (measured_cells(row, results.limits) for row in measured)))
    if faults := [fault_line(row) for row in rows if unchecked(row)]:
        more = f"- and {len(faults) - SHOWN} more\n" if len(faults) > SHOWN else ""
        parts.append("".join(faults[:SHOWN]) + more)
    parts.append(markdown(STEPS, step_cells(results)))
    return "\n".join(parts)


def markdown(head: tuple[str, ...], rows: Iterator[list[str]]) -> str:
    lines = [list(head), ["---"] * len(head), *([escape(cell) for cell in cells] for cells in rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def escape(text: str) -> str:
    return one_line(text, 400).replace("|", "\\|")


def unchecked(row: Line) -> bool:
    """Return whether a row should have been compared and was not."""
    return row.get("checked") is not True and "limits" not in row


def fault_line(row: Line) -> str:
    why = f": {row['error']}" if row.get("error") else ""
    return f"- {escape(row['step'])}, {escape(row['name'])}: **not checked**{one_line(why, 200)}\n"


def describe(machine: Line) -> str:
    """Return the card, its clocks and the software, in a line or two."""
    parts = [str(machine.get("card", "Unknown card"))]
    if has(machine, "capability"):
        parts.append(f"compute capability {machine['capability']}")
    if has(machine, "multiprocessors"):
        parts.append(f"{machine['multiprocessors']} multiprocessors")
    if is_number(machine.get("memory")):
        parts.append(format_bytes(machine["memory"]))
    clocks = machine.get("clocks")
    for key, name in (("sm", "clock"), ("memory", "memory at")):
        if isinstance(clocks, dict) and {key, f"{key}_max"} <= clocks.keys():
            parts.append(f"{name} {clocks[key]:.0f} of {clocks[f'{key}_max']:.0f} MHz")
    software = [f"driver {machine['driver']}"] if has(machine, "driver") else []
    if isinstance(cuda := machine.get("cuda"), list) and len(cuda) == 2:
        software.append(f"CUDA {cuda[0]} (driver) and {cuda[1]} (runtime)")
    for key, name in SOFTWARE.items():
        software.append(f"{name} {machine[key]}" if has(machine, key) else f"no {name}")
    if has(machine, "commit"):
        software.append(f"commit {machine['commit']}")
    text = f"{', '.join(parts)}; {', '.join(software)}; {machine.get('date', 'no date')}\n"
    if has(machine, "unavailable"):
        text += f"\n**{machine['unavailable']}**\n"
    return text


def has(machine: Line, key: str) -> bool:
    return machine.get(key) is not None


def format_clocks(clocks: dict[str, float]) -> str:
    """Return the clocks of the multiprocessors and of memory, such as "1980 / 2619 MHz"."""
    values = [f"{clocks[key]:.0f}" for key in ("sm", "memory") if key in clocks]
    return f"{' / '.join(values)} MHz" if values else ""


def describe_limits(results: Results) -> str:
    measured = [f"{UNITS.get(key, key)} {rate(value, key)}" for key, value in results.limits.items()]
    card = str(results.machine.get("card", ""))
    known = next((rates for name, rates in PUBLISHED.items() if name in card), {})
    published = [f"{UNITS.get(key, key)} {rate(value, key)}" for key, value in known.items()]
    return f"Limits measured: {', '.join(measured)}" + (
        f"; published: {', '.join(published)}.\n" if published else ".\n"
    )


def rate(value: float, key: str) -> str:
    """Return a rate of memory ("copy") or of a unit as text."""
    return format_quantity(value, "B/s" if key in ("copy", "memory") else "op/s")


def measured_cells(row: Line, limits: dict[str, float]) -> list[str]:
    unit, device = str(row.get("unit", "")), row.get("device_s")
    cells = [row["step"], row["name"], format_time(row, "wall_s"), format_time(row, "device_s")]
    for key, share, of in (("bytes", "bytes_share", "copy"), ("operations", "operations_share", unit)):
        count = row.get(key)
        cells += (
            [rate(count / device, of), share_of(row, share, count / device, of, limits)]
            if (count and device)
            else ["", ""]
        )
    cells.append(format_bytes(row["memory"]) if "memory" in row else "")
    against = str(row.get("against", ""))
    cells.append(", ".join(filter(None, (against, format_time(row, "baseline_s")))))
    ratio = row.get("ratio")
    if ratio is None and row.get("wall_s") and "baseline_s" in row:
        ratio = row["baseline_s"] / row["wall_s"]
    cells.append("" if ratio is None else f"**{ratio:.3g}**")
    cells += [format_goals(row), format_duration(row["first_s"]) if "first_s" in row else ""]
    cells.append("**not checked**" if unchecked(row) else "yes")
    return cells


def share_of(row: Line, key: str, reached: float, of: str, limits: dict[str, float]) -> str:
    """Return the fraction of a limit that was reached, from the row or the limits of the card."""
    share = row.get(key, reached / limits[of] if limits.get(of) else None)
    if share is None:
        return ""
    return f"{share:.0%}" if of == "copy" else f"{share:.0%} of {UNITS.get(of, of)}"


def format_time(row: Line, key: str) -> str:
    """Return a time of a row, and that of a step if it has several."""
    if key not in row:
        return ""
    steps = row.get("steps") or 1
    return format_duration(row[key]) + (f" ({format_duration(row[key] / steps)} a step)" if steps > 1 else "")


def format_goals(row: Line) -> str:
    unit = str(row.get("unit", ""))
    forms = {
        "seconds": lambda v: f"≤ {format_duration(v)}",
        "step": lambda v: f"≤ {format_duration(v)} a step",
        "memory": lambda v: f"≤ {format_bytes(v)}",
        "share": lambda v: f"≥ {v:.0%} of {UNITS.get(unit, unit)}",
        "ratio": lambda v: f"≥ {v:.3g} x {row.get('against', '')}",
    }
    return "; ".join(
        f"{forms[goal](asked) if goal in forms else f'{goal} {asked:.3g}'}: {'yes' if met else 'no'}"
        for goal, (asked, _, met) in row.get("goals", {}).items()
    )


def step_cells(results: Results) -> Iterator[list[str]]:
    for name, step in results.steps.items():
        rows = results.rows_of(name)
        checked = sum(not unchecked(row) for row in rows)
        status = "did not end" if step["status"] == "running" else step["status"]
        if step.get("error"):
            status += f": {step['error']}"
        yield [
            name,
            status if step["status"] in ("ok", "skipped") else f"**{status}**",
            f"{step['seconds']:.1f}" if "seconds" in step else "",
            f"{checked} of {len(rows)}" if rows else "",
            format_clocks(step.get("clocks") or {}),
            str(step.get("commit") or ""),
        ]
