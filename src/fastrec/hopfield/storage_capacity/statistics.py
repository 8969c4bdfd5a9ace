"""Statistics of capacities over network sizes: two laws fitted to the means, and their local exponents."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...display import Column, Displayed, Table, span, tabulate

Floats = NDArray[np.float64]


class SizeMean(NamedTuple):
    """The mean capacity of one size, and what is expected of it.

    Attributes
    ----------
    n : int
        Number of units.
    trials : int
        Number of networks.
    mean, error : float
        Mean capacity and its standard error, memories.
    theory : float
        The mean by `theory.capacity_mean`, nan where that does not apply.
    limit : float
        n / (4 ln n), to which the capacity goes for large n, nan where it does not.
    """

    n: int
    trials: int
    mean: float
    error: float
    theory: float
    limit: float


class LocalExponent(NamedTuple):
    """The exponent d ln p / d ln n between two neighbouring sizes, measured and expected.

    Attributes
    ----------
    n : float
        Geometric mean of the two sizes.
    exponent, error : float
        Slope of ln p between the two mean capacities p, and its standard error.
    log_law : float
        That of n / ln n between the same sizes, 1 - 1 / ln n where they are close.
    theory : float
        That of `theory.capacity_mean` between the same sizes, nan where that does not apply.
    """

    n: float
    exponent: float
    error: float
    log_law: float
    theory: float


@dataclass(frozen=True, repr=False)
class LocalExponents(Displayed):
    """Local exponents d ln p / d ln n of mean capacities, from the smallest sizes to the largest.

    Neighbours have the mean of one size in common, so that their errors are not independent: where one is too
    high, the next is likely too low.

    Attributes
    ----------
    points : tuple of LocalExponent
        One for each pair of neighbouring sizes.

    Examples
    --------
    >>> import fastrec
    >>> scaling = fastrec.capacity_scaling([5, 10, 20, 50], trials=30, backend="reference")
    >>> print(scaling.fit().local_exponents())
    local exponents d ln p / d ln n of the mean capacity p
       n  exponent     +-  n/ln n  theory
    7.07     0.594  0.119   0.483       -
    14.1     0.445  0.095   0.620       -
    31.6     0.707  0.060   0.709   0.532
    """

    points: tuple[LocalExponent, ...]

    def _summary(self) -> dict[str, Any]:
        sizes, exponents = ([q.n for q in self.points], [q.exponent for q in self.points])
        return {"sizes": len(sizes) + 1, "n": span(sizes), "exponent": span(exponents)}

    def _columns(self) -> list[Column]:
        n, *others = zip(*self.points, strict=True)
        heads = ("exponent", "+-", "n/ln n", "theory")
        named = zip(LocalExponent._fields[1:], others, heads, strict=True)
        return [Column("n", n, significant), *(Column(name, x, ".3f", head) for name, x, head in named)]

    def _table(self) -> Table:
        return tabulate("local exponents d ln p / d ln n of the mean capacity p", self._columns())

    def __str__(self) -> str:
        return self._table().text()


@dataclass(frozen=True, repr=False)
class ScalingFit(Displayed):
    """Two fits to mean capacities: capacity = a n^b, and capacity = n^order / (c ln n).

    Least squares weighted by the standard errors of the means.  `print` shows both and, where there are at
    least four sizes over a decade with ten trials of each, `summary`.

    Attributes
    ----------
    sizes : tuple of int
        Numbers of units n of the means, ascending.
    a, b, c : float
        Parameters of the laws.
    a_error, b_error, c_error : float
        Their standard errors, as they follow from those of the means alone.  They mean little where chi2 per
        degree of freedom is far above 1: there the law does not hold at the precision of the data.
    power_chi2, log_chi2 : float
        chi2 per degree of freedom of the two laws, nan without a degree of freedom.
    order : int, default 1
        1, and degree - 1 for dense memories.
    means : tuple of SizeMean
        What was fitted; empty in a fit that version 0.1.0 made.
    theory_name : str, default "binomial mean"
        What the mean by theory is called.

    Examples
    --------
    >>> import fastrec
    >>> scaling = fastrec.capacity_scaling([5, 10, 20, 50], trials=30, backend="reference")
    >>> print(scaling.fit())
    mean capacity at n = 5, 10, 20, 50
      a n^b:       a = 0.6775 +- 0.059, b = 0.5971 +- 0.028, chi2/dof = 2.19
      n/(c ln n):  c = 1.7289 +- 0.039, chi2/dof = 1.43
    Between n = 5 and 50 both n / (c ln n) and a power law n^0.597 fit the means (chi2/dof 1.43 and 2.19): \
these trials cannot tell which law holds.
    The local exponent d ln p / d ln n is 0.594 +- 0.119 at n = 7.07 and 0.707 +- 0.060 at n = 31.6, \
where n / ln n predicts 0.709 and the binomial mean 0.532.
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
    order: int = 1
    means: tuple[SizeMean, ...] = ()
    theory_name: str = "binomial mean"

    @property
    def log_law(self) -> str:
        """The second law as text."""
        return f"{'n' if self.order == 1 else f'n^{self.order}'} / (c ln n)"

    @property
    def is_telling(self) -> bool:
        """Whether it can tell which law holds: four sizes over a decade, with ten trials of each."""
        few = any(q.trials < 10 for q in self.means)
        return len(self.means) >= 4 and self.sizes[-1] >= 10 * self.sizes[0] and not few

    def power_law(self, n: Floats) -> Floats:
        """Return a n^b.

        Parameters
        ----------
        n : ndarray
            Numbers of units.

        Returns
        -------
        ndarray of float64
            Memories, of the shape of n.
        """
        return self.a * np.asarray(n, float) ** self.b

    def logarithmic_law(self, n: Floats) -> Floats:
        """Return n^order / (c ln n).

        Parameters
        ----------
        n : ndarray
            Numbers of units, above 1.

        Returns
        -------
        ndarray of float64
            Memories, of the shape of n.
        """
        return log_law(n, self.order) / self.c

    def local_exponents(self) -> LocalExponents:
        """Return the exponents d ln p / d ln n between neighbouring sizes, with what both laws predict.

        A power law has the same exponent at all sizes; that of n / ln n is 1 - 1 / ln n, and rises.

        Returns
        -------
        LocalExponents
            One for each pair of neighbouring sizes.

        Raises
        ------
        ValueError
            For a fit that version 0.1.0 pickled, which does not hold the means.
        """
        if not self.means:
            raise ValueError(
                "means must hold what was fitted, and a fit of version 0.1.0 has none: fit again"
            )
        n, _, mean, error, theory, _ = np.array(self.means, float).T
        width = np.diff(np.log(n))
        relative = error / mean
        columns = (
            np.sqrt(n[:-1] * n[1:]),
            np.diff(np.log(mean)) / width,
            np.hypot(relative[:-1], relative[1:]) / width,
            np.diff(np.log(log_law(n, self.order))) / width,
            np.diff(np.log(theory)) / width,
        )
        return LocalExponents(tuple(map(LocalExponent._make, np.array(columns).T.tolist())))

    def summary(self) -> str:
        """Return in words which law holds in which range, with the numbers of this run.

        A law is taken to hold where chi2 is one that its trials would exceed with a probability of at least
        1 %.

        Returns
        -------
        str
            A sentence a line.
        """
        from .summary import sentences

        return "\n".join(sentences(self))

    def _summary(self) -> dict[str, Any]:
        names = ("a", "b", "b_error", "power_chi2", "c", "c_error", "log_chi2")
        return {name: getattr(self, name) for name in names}

    def _columns(self) -> list[Column]:
        return [Column(name, [value]) for name, value in vars(self).items() if isinstance(value, float)]

    def _caption(self) -> str:
        return f"mean capacity at n = {', '.join(map(str, self.sizes))}"

    def _table(self) -> Table:
        rows = [
            ["a", f"{self.a:.4g}", f"{self.a_error:.2g}", "capacity = a n^b", f"{self.power_chi2:.3g}"],
            ["b", f"{self.b:.4f}", f"{self.b_error:.2g}", "", ""],
            [
                "c",
                f"{self.c:.4f}",
                f"{self.c_error:.2g}",
                f"capacity = {self.log_law}",
                f"{self.log_chi2:.3g}",
            ],
        ]
        caption = self._caption() + (f".\n{self.summary()}" if self.is_telling else "")
        return Table(caption, ["", "value", "+-", "law", "chi2/dof"], rows)

    def __str__(self) -> str:
        law = self.log_law.replace(" / ", "/") + ":"
        return (
            f"{self._caption()}\n"
            f"  a n^b:       a = {self.a:.4g} +- {self.a_error:.2g}, b = {self.b:.4f} +- {self.b_error:.2g}, "
            f"chi2/dof = {self.power_chi2:.3g}\n"
            f"  {law:11}  c = {self.c:.4f} +- {self.c_error:.2g}, chi2/dof = {self.log_chi2:.3g}"
        ) + (f"\n{self.summary()}" if self.is_telling else "")


def significant(n: float) -> str:
    """Return a number of units to three digits, with separators of thousands."""
    return f"{float(f'{n:.3g}'):,.10g}"


def log_law(n: Floats, order: int) -> Floats:
    """n^order / ln n."""
    return np.asarray(n, float) ** order / np.log(n)


def fit_scaling(
    means: Sequence[SizeMean], order: int = 1, theory_name: str = ScalingFit.theory_name
) -> ScalingFit:
    """Fit both laws of `ScalingFit` to at least two means."""
    means = sorted(means)
    n, _, mean, error, *_ = np.array(means, float).T
    # ln(mean) has the error error/mean; centred ln n keeps the two parameters apart until the end.
    weight = (mean / error) ** 2
    centre = np.average(np.log(n), weights=weight)
    x, y = np.log(n) - centre, np.log(mean)
    spread = float(weight @ x**2)
    slope, height = float(weight @ (x * y)) / spread, float(np.average(y, weights=weight))
    a = math.exp(height - slope * centre)
    power_chi2 = float(weight @ (y - height - slope * x) ** 2) / (len(n) - 2) if len(n) > 2 else math.nan
    factor, factor_error, log_chi2 = fit_factor(log_law(n, order), mean, error)
    return ScalingFit(
        sizes=tuple(q.n for q in means),
        a=a,
        a_error=a * math.sqrt(1 / weight.sum() + centre**2 / spread),
        b=slope,
        b_error=1 / math.sqrt(spread),
        power_chi2=power_chi2,
        c=1 / factor,
        c_error=factor_error / factor**2,
        log_chi2=log_chi2,
        order=order,
        means=tuple(means),
        theory_name=theory_name,
    )


def fit_factor(law: Floats, mean: Floats, error: Floats) -> tuple[float, float, float]:
    """The factor of a law that fits the means, its standard error, and chi2 per degree of freedom."""
    information = float(np.sum((law / error) ** 2))
    factor = float(np.sum(law * mean / error**2)) / information
    chi2 = float(np.sum(((mean - factor * law) / error) ** 2)) / (len(mean) - 1)
    return factor, 1 / math.sqrt(information), chi2


def chi2_probability(chi2: float, freedom: int) -> float:
    """Probability that the sum of `freedom` squared normal numbers exceeds chi2."""
    half, odd = chi2 / 2, freedom % 2
    if half == 0:
        return 1.0
    powers = (k + odd / 2 for k in range(freedom // 2))
    terms = (math.exp(x * math.log(half) - half - math.lgamma(x + 1)) for x in powers)
    return (math.erfc(math.sqrt(half)) if odd else 0.0) + math.fsum(terms)
