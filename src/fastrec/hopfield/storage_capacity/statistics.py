"""Statistics of capacities over network sizes: two laws fitted to the means."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...display import Displayed, Table


@dataclass(frozen=True, repr=False)
class ScalingFit(Displayed):
    """Two fits to mean capacities: capacity = a n^b, and capacity = n / (c ln n).

    Least squares weighted by the standard errors of the means.

    Attributes
    ----------
    sizes : tuple of int
        Numbers of units n of the means.
    a, b, c : float
        Parameters of the laws.
    a_error, b_error, c_error : float
        Their standard errors, as they follow from those of the means alone.  They mean little where chi2 per
        degree of freedom is far above 1: there the law does not hold at the precision of the data.
    power_chi2, log_chi2 : float
        chi2 per degree of freedom of the two laws, nan without a degree of freedom.
    """

    sizes: tuple[int, ...]
    a: float
    a_error: float
    b: float
    b_error: float
    power_chi2: float
    c: float
    c_error: float
    log_chi2: float

    def _summary(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "sizes"}

    def _table(self) -> Table:
        rows = [
            ["a", f"{self.a:.4g}", f"{self.a_error:.2g}", "capacity = a n^b", f"{self.power_chi2:.3g}"],
            ["b", f"{self.b:.4f}", f"{self.b_error:.2g}", "", ""],
            ["c", f"{self.c:.4f}", f"{self.c_error:.2g}", "capacity = n / (c ln n)", f"{self.log_chi2:.3g}"],
        ]
        sizes = ", ".join(map(str, self.sizes))
        return Table(f"mean capacity at n = {sizes}", ["", "value", "+-", "law", "chi2/dof"], rows)

    def __str__(self) -> str:
        return (
            f"mean capacity at n = {', '.join(map(str, self.sizes))}\n"
            f"  a n^b:       a = {self.a:.4g} +- {self.a_error:.2g}, b = {self.b:.4f} +- {self.b_error:.2g}, "
            f"chi2/dof = {self.power_chi2:.3g}\n"
            f"  n/(c ln n):  c = {self.c:.4f} +- {self.c_error:.2g}, chi2/dof = {self.log_chi2:.3g}"
        )


def fit_scaling(sizes: tuple[int, ...], mean: NDArray[np.float64], error: NDArray[np.float64]) -> ScalingFit:
    """Fit both laws of `ScalingFit` to means (k,) with standard errors (k,) at k >= 2 sizes."""
    n = np.array(sizes, float)
    # ln(mean) has the error error/mean; centred ln n keeps the two parameters apart until the end.
    weight = (mean / error) ** 2
    centre = np.average(np.log(n), weights=weight)
    x, y = np.log(n) - centre, np.log(mean)
    spread = float(weight @ x**2)
    slope, height = float(weight @ (x * y)) / spread, float(np.average(y, weights=weight))
    a = math.exp(height - slope * centre)
    power_chi2 = float(weight @ (y - height - slope * x) ** 2) / (len(n) - 2) if len(n) > 2 else math.nan
    law = n / np.log(n)
    information = float(np.sum((law / error) ** 2))
    factor = float(np.sum(law * mean / error**2)) / information
    return ScalingFit(
        sizes=sizes,
        a=a,
        a_error=a * math.sqrt(1 / weight.sum() + centre**2 / spread),
        b=slope,
        b_error=1 / math.sqrt(spread),
        power_chi2=power_chi2,
        c=1 / factor,
        c_error=1 / (math.sqrt(information) * factor**2),
        log_chi2=float(np.sum(((mean - factor * law) / error) ** 2)) / (len(n) - 1),
    )
