"""Expected values of jobs, computed on the CPU in about fifteen minutes; run by scripts/gpu-expected.

With names as arguments, only these values are computed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from . import capacity, million, scaling, training
from .measure import EXPECTED

VALUES: dict[str, Callable[[str], Any]] = {
    **{
        f"capacity, n = {n}": partial(capacity.counts, n=n, trials=trials)
        for n, trials, _ in sorted((*capacity.FULL, *capacity.SMALL))
    },
    **{
        f"recall, n = {n}, p = {p}": partial(million.recall_digest, p=p, n=n)
        for p, n in (*million.FEW, *million.SMALL)
    },
    **{
        f"main job, n = {n}": partial(scaling.counts, n=n, trials=trials)
        for n, trials, _ in (*scaling.FULL[:1], *scaling.SMALL)
    },
    **{f"overlaps, n = {n}": partial(million.first_overlaps, n=n) for n in (400, 1_000_000)},
    "losses of fit": training.fit_losses,
    "text": training.text_and_losses,
}


def main(names: list[str]) -> None:
    kept = json.loads(EXPECTED.read_text()) if names and EXPECTED.exists() else {}
    for name in names or VALUES:
        print(name, flush=True)
        kept[name] = VALUES[name]("cpu")
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(kept[name])}" for name in sorted(kept))
    EXPECTED.write_text(f"{{\n{lines}\n}}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
