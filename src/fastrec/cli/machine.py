"""`fastrec bench`, `compile` and `info`: the machine, its speed and its compiled kernels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from .. import __version__
from ..backend import BACKENDS, device, device_memory, resolve, unavailable_reason, visible_devices
from ..kernels.compilation import compiling_seconds
from ..progress import progress_bar
from ..rnn.cells import CELLS
from ..threads import get_threads
from ..validation import format_bytes
from .options import BackendOption, FigureOption, files, listed, measured, use_threads, written
from .outputs import require_file_for, require_picture, show, written_to

if TYPE_CHECKING:
    from ..jobs.run import WorkerCount

BENCHED = ("overlaps", "store", "recall", "capacity", *(name for name, cell in CELLS.items() if cell.torch))


def bench(
    only: Annotated[
        str | None,
        measured(
            help=f"Any of {', '.join(BENCHED)}.", show_default="all", autocompletion=listed(lambda: BENCHED)
        ),
    ] = None,
    rounds: Annotated[int, measured(min=1, help="Number of timings of each job.")] = 5,
    out: Annotated[
        Path | None, written(help="Report (.json), updated after each job.", autocompletion=files(".json"))
    ] = None,
    against: Annotated[
        Path | None, measured(help="Earlier report (.json) to compare with.", autocompletion=files(".json"))
    ] = None,
    plot: FigureOption = None,
) -> None:
    """Compare fastrec on this machine with NumPy, PyTorch and JAX, and with the limit of the hardware.

    Examples::
      fastrec bench --only recall,capacity --out bench.json
    """
    use_threads(None)
    from ..bench.jobs import JOBS
    from ..bench.report import Report, run
    from ..plot import save_figure

    jobs = list(JOBS) if only is None else [name.strip() for name in only.split(",")]
    if unknown := [name for name in jobs if name not in JOBS]:
        raise typer.BadParameter(f"{unknown[0]!r} is not one of {', '.join(JOBS)}", param_hint="--only")
    before = None if against is None else Report.load(against)
    require_file_for(out, ".json")
    require_picture(plot)
    if before:
        show(f"earlier is {against}:\n{before.head().splitlines()[0]}\n")
    report = run(jobs, rounds, lambda lines: show(lines, flush=True), before, out)
    if report.compiling > 1:
        show(f"\n{report.compiling:.0f} s to compile, not timed; kernels are kept on disk")
    if plot is not None:
        save_figure(report.figure(), plot)
    if out or plot:
        show(f"\n{written_to(out, plot)}")


def part_names(incomplete: str) -> list[str]:
    """Return the parts that can be compiled."""
    from ..warming import PARTS

    return list(PARTS)


def compile(
    parts: Annotated[
        list[str] | None,
        typer.Argument(
            help="hopfield, capacity, the name of a cell, or text.",
            show_default="all",
            autocompletion=part_names,
        ),
    ] = None,
    backend: BackendOption = None,
) -> None:
    """Compile kernels now and keep them on disk, so that later calls start at once.

    Kernels of recurrent networks are compiled for float32.

    Examples::
      fastrec compile capacity hopfield
    """
    use_threads(None)
    from ..warming import PARTS

    chosen = parts or list(PARTS)
    if unknown := [part for part in chosen if part not in PARTS]:
        raise typer.BadParameter(f"there is no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    name = resolve(backend)
    begin = compiling_seconds()
    with progress_bar("compiling", len(chosen)) as advance:
        for part in chosen:
            advance(0, f"compiling {part}")
            PARTS[part](name)
            advance(1, f"compiling {part}")
    show(f"compiled {', '.join(chosen)} in {compiling_seconds() - begin:.1f} s")
    if name == "cpu":
        show(f"kept in {describe_cpu()['cache']}")


def info() -> None:
    """Show the version, the backends and devices, the threads and the cache of compiled kernels.

    Examples::
      fastrec info
    """
    import platform

    use_threads(None)
    default = resolve(None)
    show(f"fastrec    {__version__} (Python {platform.python_version()}, NumPy {np.__version__})")
    for name in BACKENDS:
        show(f"{name:<11}{unavailable_reason(name) or 'available'}")
    show(f"default    {default}")
    if unavailable_reason("cpu") is None:
        for key, value in describe_cpu().items():
            show(f"{key:<11}{value}")
    if unavailable_reason("gpu") is None:
        from ..hopfield.storage_capacity.memory import largest_that_fits

        scan, recall = largest_that_fits(device_memory()[0], device().multiprocessors)
        show(f"device     {describe_device()}")
        if (number := len(visible_devices())) > 1:
            show(f"devices    {number}, all of which --workers all takes")
        show(f"room       for a capacity trial with n = {scan}, async recall at load 0.1 with n = {recall}")


def describe_cpu() -> dict[str, str]:
    """The CPU, its vectors, the threads in use, and the folder of compiled kernels."""
    import llvmlite.binding as llvm

    from ..kernels.cpu import cache
    from ..kernels.cpu.simd import FEATURES, LANES

    vectors = [name for name in ("avx512vpopcntdq", "avx512bw", "avx2", "neon") if name in FEATURES]
    folder = cache.folder()
    return {
        "cpu name": llvm.get_host_cpu_name(),
        "vectors": f"{64 * LANES} bits, {', '.join(vectors) or 'portable'}",
        "threads": f"{get_threads()}",
        "cache": f"{folder.parent}, {format_bytes(cache.size())}" if folder else "none",
    }


def describe_devices(workers: WorkerCount) -> str:
    """Return the devices of a job, and whether there are more.

    Those of workers are described without their memory: to ask for it would take some of it, and is refused
    where a device is for one process only.
    """
    devices = visible_devices()
    if workers is None:
        more = f"; --workers all takes all {len(devices)} devices" if len(devices) > 1 else ""
        return describe_device() + more
    card, used = device(), devices[: None if workers == "all" else workers]
    found = f"{len(used)} of {len(devices)} devices"
    return f"{found}, the first {card.name}, compute capability {card.capability}"


def describe_device() -> str:
    """Return the name, compute capability and memory of the device of backend "gpu"."""
    card, (free, total) = device(), device_memory()
    memory = f"{format_bytes(free)} of {format_bytes(total)} of memory free"
    return f"{card.name}, compute capability {card.capability}, {memory}"
