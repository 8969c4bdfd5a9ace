"""Bounds between two steps: what the capacity scan knows about a field, and where it sums it exactly.

Memories are added to a network of 10 000 units. Orange: the unit that is the first to become unstable, in a
memory that was stored early. Blue: another unit of that memory. At the ends of steps (dots) the scan knows
their fields, except for the remainders of the 8-bit digits; in between, the fields stay inside the boxes,
whose heights follow from the overlaps of the step. Below the dashed line, 3 p, one flipped bit could
matter; below the solid line, p, a unit is unstable. Only where a box reaches down to 3 p is the field
summed exactly, load by load (black).
"""

from itertools import pairwise

import numpy as np
from matplotlib.figure import Figure

import fastrec
from fastrec.plot import save_figure

COLOURS = "#D55E00", "#0072B2"


def step_ends(n, most):
    """Ends of the steps in which patterns are added, with one bit flipped in the probes."""
    ends = [0]
    while ends[-1] < most:
        for size in (256, 128, 64, 32, 16, 8):
            end = ends[-1] + size
            if n - 3 * end - 0.4 * size * n**0.5 > 3.5 * (n * end) ** 0.5:
                break
        ends.append(end)
    return ends


def main(n=10_000, network=10, path="bounds.svg"):
    count = fastrec.capacity(n, network + 1, flips=0).counts[network]
    ends = step_ends(n, count + 1)
    x = fastrec.random_patterns(ends[-1], n, networks=network + 1, seed=0)[network].astype(np.float32)
    stored = x[: count + 1]
    memory, first = divmod(int((stored @ stored.T @ stored * stored).argmin()), n)
    overlaps = x @ x[memory]
    overlaps[memory] = 0
    scale = 2 ** max(0, int(np.ceil(np.log2(3.6 * n**0.5 / 127))))
    digits = np.clip(np.round(overlaps / scale), -127, 127)
    rests, spreads = (np.append(0, np.cumsum(abs(part))) for part in (overlaps - scale * digits, overlaps))

    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    ax = figure.subplots()
    boxes = []
    for unit, colour in zip((first, (first + n // 2) % n), COLOURS, strict=True):
        signs = x[:, unit] * x[memory, unit]
        field, known = (n + np.append(0, np.cumsum(part * signs)) for part in (overlaps, scale * digits))
        ax.errorbar(ends, known[ends], rests[ends], color=colour, fmt="o", markersize=3.5)
        for a, b in pairwise(ends):
            middle = (known[a] + known[b]) / 2
            height = (rests[a] + rests[b] + spreads[b] - spreads[a]) / 2
            low, high = middle - height, middle + height
            ax.fill_between((a, b), low, high, color=colour, alpha=0.25, linewidth=0)
            if low <= 3 * b:
                ax.plot(range(a, b + 1), field[a : b + 1], color="black", linewidth=1)
            boxes.append((field[a : b + 1], low, high, low <= 3 * b))
    last = ends[-1]
    for factor, style in ((3, "--"), (1, "-")):
        ax.plot((0, last), (0, factor * last), color="black", linestyle=style, linewidth=1)
        ax.annotate(f"{factor} p".removeprefix("1 "), (1.01 * last, factor * last), va="center")
    ax.set(xlabel="stored memories p", ylabel="field, signed by the memory", xlim=(-0.01 * last, 1.06 * last))
    save_figure(figure, path)
    looked = sum(box[3] for box in boxes)
    print(
        f"capacity {count}, memory {memory}; of {len(boxes)} boxes {looked} reach down to 3 p\nwrote {path}"
    )
    return count, ends, boxes


if __name__ == "__main__":
    main()
