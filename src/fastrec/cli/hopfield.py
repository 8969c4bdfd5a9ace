"""`fastrec capacity`, `retrieval`, `phase` and `recall`."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from string import ascii_uppercase, digits
from typing import Annotated, Any

import numpy as np
import typer

from ..backend import resolve
from ..compilation import clock
from ..display import Table
from ..hopfield.storage_capacity.definition import Criterion
from ..jobs.store import SUFFIXES
from ..messages import printable
from .machine import describe_devices
from .options import (
    ActivityOption,
    BackendOption,
    DaskOption,
    DegreeOption,
    FigureOption,
    FlipsOption,
    KeepOption,
    MarginOption,
    NoiseOption,
    OutOption,
    PassesOption,
    PatternsOption,
    RuleOption,
    SeedOption,
    SelfCouplingOption,
    TemperatureOption,
    ThreadsOption,
    ThresholdsOption,
    ToleranceOption,
    UpdateOption,
    WorkersOption,
    files,
    measured,
    parse_degree,
    parse_flips,
    parse_loads,
    parse_sizes,
    parse_stop,
    parse_workers,
    read_patterns,
    runs,
    use_threads,
)
from .outputs import require_picture, show, took, written_to
from .pictures import read_pictures
from .resuming import trials_kept

PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".ppm")
PHASE: dict[str, Any] = {
    "n": 10_000,
    "loads": "0.01:0.16:lin16",
    "temperatures": "0.05:1.4:lin28",
    "trials": 10,
}
QUICK_PHASE: dict[str, Any] = {
    "n": 1000,
    "loads": "0.01:0.15:lin8",
    "temperatures": "0.1:1.4:lin14",
    "trials": 4,
}


def capacity(
    sizes: Annotated[
        str, measured(help="Units: a list 200,400,800, or first:last:logK (:linK) for K sizes.")
    ] = "10:10000:log13",
    trials: Annotated[int, measured(help="Number of independent networks of each size.")] = 100,
    criterion: Annotated[Criterion, measured(help="Memories that must be recalled.")] = "all",
    stop: Annotated[
        str,
        measured(
            metavar="first-failure|largest",
            autocompletion=lambda incomplete: ["first-failure", "largest"],
            help="Count up to the first load that fails, or to the largest that passes.",
        ),
    ] = "first-failure",
    flips: FlipsOption = "1",
    corruption: Annotated[int | None, measured("--corruption", hidden=True)] = None,
    update: UpdateOption = "async",
    max_sweeps: Annotated[int, measured(help="Maximum number of sweeps of a recall.")] = 100,
    max_patterns: Annotated[
        int | None,
        measured(
            help="Most memories to try.", show_default="until success is below 1e-9; about n for other rules"
        ),
    ] = None,
    rule: RuleOption = "hebb",
    patterns: PatternsOption = None,
    activity: ActivityOption = None,
    self_coupling: SelfCouplingOption = False,
    thresholds: ThresholdsOption = None,
    margin: MarginOption = None,
    max_passes: PassesOption = None,
    degree: DegreeOption = "2",
    tolerance: ToleranceOption = 0.0,
    seed: SeedOption = 0,
    backend: BackendOption = None,
    threads: ThreadsOption = None,
    workers: WorkersOption = None,
    dask: DaskOption = None,
    keep: KeepOption = True,
    out: OutOption = Path("capacity.csv"),
    plot: FigureOption = Path("capacity.png"),
) -> None:
    """Measure how many memories Hopfield networks of several sizes hold: a table, a CSV file and a figure.

    Examples::
      fastrec capacity --sizes 100,200,400 --trials 50
      fastrec capacity --sizes 100000 --trials 20 --out run.db --workers all
    """
    number = parse_workers(workers, dask)
    use_threads(threads)
    from ..hopfield import capacity_scaling
    from ..jobs.executors import dask_executor
    from ..plot import capacity_scaling_figure, save_figure

    numbers, states = parse_sizes(sizes), read_patterns(patterns)
    require_picture(plot)
    begin = clock()
    name = backend
    if dask is None and (name := resolve(name, domain="capacity")) == "gpu":
        show(f"on {describe_devices(number)}\n")
    with kept(out, keep), nullcontext() if dask is None else dask_executor(dask) as executor:
        scaling = capacity_scaling(
            numbers,
            trials,
            out,
            criterion=criterion,
            stop=parse_stop(stop),
            flips=parse_flips(flips) if corruption is None else corruption,
            update=update,
            seed=seed,
            backend=name,
            max_sweeps=max_sweeps,
            max_patterns=max_patterns,
            rule=rule,
            patterns=states,
            activity=activity,
            self_coupling=self_coupling,
            thresholds=thresholds,
            margin=margin,
            max_passes=max_passes,
            degree=parse_degree(degree),
            tolerance=tolerance,
            executor=executor,
            workers=number,
        )
        if plot is not None:  # before the table, as `| head` may end the program
            save_figure(capacity_scaling_figure(scaling), plot)
        show(scaling._table())
    if len(scaling) > 2:
        try:
            show(f"\n{scaling.fit()}")
        except ValueError as error:  # such as one trial of each size; the rest is still useful
            show(f"\nno fit: {error}")
    show(f"\n{took(clock() - begin, out, plot)}")


def retrieval(
    sizes: Annotated[str, measured(help="Units, as in `fastrec capacity`.")] = "1000,2000,5000",
    loads: Annotated[
        str, measured(help="p/n: a list 0.1,0.12, or first:last:linK for K loads.")
    ] = "0.08:0.16:lin17",
    trials: Annotated[int, measured(help="Independent networks of each size and load.")] = 10,
    probes: Annotated[int, measured(help="Number of memories probed in each network.")] = 100,
    flips: FlipsOption = "0",
    noise: NoiseOption = None,
    tolerance: ToleranceOption = 0.05,
    update: UpdateOption = "async",
    max_sweeps: Annotated[int, measured(help="Maximum number of sweeps of a recall.")] = 100,
    rule: RuleOption = "hebb",
    patterns: PatternsOption = None,
    activity: ActivityOption = None,
    self_coupling: SelfCouplingOption = False,
    thresholds: ThresholdsOption = None,
    margin: MarginOption = None,
    max_passes: PassesOption = None,
    degree: DegreeOption = "2",
    temperature: TemperatureOption = 0.0,
    seed: SeedOption = 0,
    backend: BackendOption = None,
    threads: ThreadsOption = None,
    workers: WorkersOption = None,
    dask: DaskOption = None,
    keep: KeepOption = True,
    out: OutOption = Path("retrieval.csv"),
    plot: FigureOption = Path("retrieval.png"),
) -> None:
    """Measure how close to a memory recall ends, against the load: a table, all trials and a figure.

    Examples::
      fastrec retrieval --sizes 1000 --loads 0.1:0.16:lin7
    """
    use_threads(threads)
    from ..hopfield import retrieval_scaling
    from ..jobs.executors import dask_executor
    from ..plot import retrieval_figure, save_figure

    numbers, alphas, states = parse_sizes(sizes), parse_loads(loads), read_patterns(patterns)
    number = parse_workers(workers, dask)
    require_picture(plot)
    with kept(out, keep), nullcontext() if dask is None else dask_executor(dask) as executor:
        result = retrieval_scaling(
            numbers,
            alphas,
            trials,
            probes,
            update=update,
            seed=seed,
            backend=backend,
            flips=parse_flips(flips) if noise is None else noise,
            tolerance=tolerance,
            max_sweeps=max_sweeps,
            rule=rule,
            patterns=states,
            activity=activity,
            self_coupling=self_coupling,
            thresholds=thresholds,
            margin=margin,
            max_passes=max_passes,
            degree=parse_degree(degree),
            temperature=temperature,
            out=out,
            progress=True,
            executor=executor,
            workers=number,
        )
        if plot is not None:
            save_figure(retrieval_figure(result), plot)
        show(result._table())
    if out or plot:
        show(f"\n{written_to(out, plot)}")


def phase(
    n: Annotated[
        int | None, measured("--n", help="Number of units.", show_default="10000; --quick: 1000")
    ] = None,
    loads: Annotated[
        str | None,
        measured(
            help="p/n, as in `fastrec retrieval`.", show_default="0.01:0.16:lin16; --quick: 0.01:0.15:lin8"
        ),
    ] = None,
    temperatures: Annotated[
        str | None,
        measured(help="T, as the loads.", show_default="0.05:1.4:lin28; --quick: 0.1:1.4:lin14"),
    ] = None,
    trials: Annotated[
        int | None,
        measured(help="Independent networks at each load.", show_default="10; --quick: 4"),
    ] = None,
    probes: Annotated[int, measured(help="Number of memories from which each network starts.")] = 5,
    sweeps: Annotated[int, measured(help="Number of sweeps over which states are averaged.")] = 200,
    burn_in: Annotated[int, measured("--burn-in", help="Number of sweeps before these.")] = 100,
    quick: Annotated[bool, runs("--quick", help="A smaller plane, in a minute.")] = False,
    seed: SeedOption = 0,
    backend: BackendOption = None,
    threads: ThreadsOption = None,
    workers: WorkersOption = None,
    dask: DaskOption = None,
    keep: KeepOption = True,
    out: OutOption = Path("phase.csv"),
    plot: FigureOption = Path("phase.png"),
) -> None:
    """Measure what networks hold of a memory at each load and temperature: a table, all trials and a map.

    Examples::
      fastrec phase --quick
    """
    use_threads(threads)
    from ..hopfield import phase_diagram
    from ..jobs.executors import dask_executor
    from ..plot import phase_figure, save_figure

    usual = QUICK_PHASE if quick else PHASE
    asked = {"n": n, "loads": loads, "temperatures": temperatures, "trials": trials}
    setting = usual | {name: value for name, value in asked.items() if value is not None}
    alphas, heats = parse_loads(setting["loads"]), parse_loads(setting["temperatures"], "--temperatures")
    number = parse_workers(workers, dask)
    require_picture(plot)
    with kept(out, keep), nullcontext() if dask is None else dask_executor(dask) as executor:
        result = phase_diagram(
            setting["n"],
            alphas,
            heats,
            setting["trials"],
            probes,
            sweeps,
            burn_in,
            seed=seed,
            backend=backend,
            out=out,
            progress=True,
            executor=executor,
            workers=number,
        )
        if plot is not None:
            save_figure(phase_figure(result), plot)
        show(result._table())
    if out or plot:
        show(f"\n{written_to(out, plot)}")


def kept(out: Path | None, keep: bool) -> AbstractContextManager[None]:
    """Return a block of jobs whose trials are in out, if that is a run file, or kept until they are done."""
    return trials_kept(out if out is not None and out.suffix.lower() in SUFFIXES else None, keep)


def letters(incomplete: str) -> list[str]:
    """Complete a text with each letter and digit that it does not have."""
    return [incomplete + each for each in ascii_uppercase + digits if each not in incomplete]


def recall(
    text: Annotated[
        str | None,
        typer.Argument(
            help="Letters and digits, each one memory.",
            show_default="ATOM, or none with --image",
            autocompletion=letters,
        ),
    ] = None,
    image: Annotated[
        list[Path] | None,
        measured(
            help="A picture (png, jpg, gif, bmp, tif, webp, ppm), one memory; may be repeated.  It is made "
            "grey, resized to side x side, and +1 where it is darker than its median grey.",
            autocompletion=files(*PICTURES),
        ),
    ] = None,
    side: Annotated[int, measured(min=4, max=512, help="Pictures have side x side units.")] = 32,
    flips: FlipsOption = "0.25",
    noise: NoiseOption = None,
    update: UpdateOption = "async",
    seed: SeedOption = 0,
    backend: BackendOption = None,
    threads: ThreadsOption = None,
    out: FigureOption = Path("recall.png"),
) -> None:
    """Store pictures of letters, or of files, corrupt and recall them; print overlaps and draw a figure.

    Examples::
      fastrec recall ATOM --flips 0.25
      fastrec recall --image cat.jpg --image dog.jpg --side 64
    """
    use_threads(threads)
    from ..hopfield.network import HopfieldNetwork
    from ..hopfield.states import corrupt
    from ..plot import glyphs, recall_figure, save_figure

    paths = image or []
    if text is None:
        text = "" if paths else "ATOM"
    elif not text:
        raise ValueError("text is empty; give at least one letter")
    require_picture(out)
    letters = list(dict.fromkeys(text))
    names = letters + [printable(path.name) for path in paths]
    pictures = np.concatenate([glyphs(letters, side), read_pictures(paths, side)])
    memories = pictures.reshape(len(names), -1)
    network = HopfieldNetwork(side * side, backend=resolve(backend))
    network.store(memories)
    probes = corrupt(memories, parse_flips(flips) if noise is None else noise, seed, network.backend)
    result = network.recall(probes, update=update, seed=seed)
    if out is not None:  # before the table, as `| head` may end the program
        shape = pictures.shape
        save_figure(recall_figure(pictures, probes.reshape(shape), result.states.reshape(shape)), out)
    share = np.count_nonzero(probes[0] != memories[0]) / network.n
    caption = f"{len(names)} memories of {side} x {side} = {network.n} units, {share:.0%} flipped, {update}"
    if paths:
        caption += (
            f"\nfiles in grey, resized to {side} x {side}: +1 where a picture is darker than its median grey"
        )
    rows = []
    before, after = (np.diagonal(network.overlaps(states)) for states in (probes, result.states))
    for i, name in enumerate(names):
        kind = {0: "nothing yet", 1: "a fixed point", 2: "a two-cycle"}[int(result.period[i])]
        if np.array_equal(result.states[i], memories[i]):
            kind = "the memory"
        counts = (str(result.sweeps[i]), str(result.flips[i]))
        rows.append([name, f"{before[i]:.3f}", f"{after[i]:.3f}", *counts, kind])
    heads = ("memory", "overlap before", "after", "sweeps", "flips", "stops at")
    show(Table(caption, heads, rows, spare=("flips", "sweeps")))
    if out is not None:
        show(f"written to {out}")
