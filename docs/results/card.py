"""Writes the section of a card into README.md, and card.svg, from the run file of gpu-check's step main-job.

python docs/results/card.py FILE; the results of the card, FILE without "-capacity.db" and with ".jsonl", say
which card it was, if they lie beside the file.
"""

import re
import sys
from pathlib import Path

from gpu import results, table

from fastrec import ScalingResult
from fastrec.plot import capacity_scaling_figure, save_figure

FIGURE = """![Median capacity and its 10-90 % band against n on logarithmic axes, beside the line of finite-n
theory](card.svg)"""


def section(run):
    """Return the section about a run file: the card, its table, the time of a trial at each size."""
    scaling = ScalingResult.load(run)
    card = table.describe(results.read(Path(f"{str(run).removesuffix('-capacity.db')}.jsonl")).machine)
    times = "".join(f"- n = {r.n}: {r.seconds / r.trials:.3g} s a trial\n" for r in scaling)
    return f"{card}\n```\n{scaling.table()}\n```\n\n{times}\n{FIGURE}\n"


def write(run, folder):
    """Write the section and the figure into a folder that has README.md."""
    readme = folder / "README.md"
    before, _, after = re.split(
        r"(?<=<!-- card -->\n)(.*)(?=<!-- card end -->)", readme.read_text(encoding="utf-8"), flags=re.DOTALL
    )
    save_figure(capacity_scaling_figure(ScalingResult.load(run)), folder / "card.svg")
    readme.write_text(before + section(run) + after, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(__file__).parent)
