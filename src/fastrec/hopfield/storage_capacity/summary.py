"""Which law of scaling holds in which range, in words, from the numbers of one run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from .statistics import ScalingFit, SizeMean, chi2_probability, fit_factor, fit_scaling, significant

LEAST = 0.01  # probability of a larger chi2 from which on a law is taken to hold


class Fitted(NamedTuple):
    """A law fitted to neighbouring sizes: as text with its parameter, chi2, and the degrees of freedom."""

    law: str
    chi2: float
    freedom: int

    @property
    def holds(self) -> bool:
        """Whether the means may well scatter so far about the law."""
        return chi2_probability(self.chi2, self.freedom) >= LEAST

    @property
    def reduced(self) -> float:
        """chi2 per degree of freedom."""
        return self.chi2 / self.freedom


Fit = Callable[[Sequence[SizeMean]], Fitted]


def sentences(fit: ScalingFit) -> Iterator[str]:
    """The sentences of `ScalingFit.summary`."""
    if not fit.is_telling:
        yield "Which law holds can be told from four sizes or more over a decade, with ten trials of each."
        return
    power, log = power_law(fit.means), logarithmic_law(fit.order)(fit.means)
    yield verdict(fit, power, log)
    if not (power.holds or log.holds):
        yield ranges(fit)
    yield exponents(fit, power)
    if power.reduced < log.reduced and not log.holds:
        yield from why_power_looks_better(fit, power)


def power_law(means: Sequence[SizeMean]) -> Fitted:
    """a n^b, fitted."""
    fit = fit_scaling(means)
    return Fitted(f"n^{fit.b:.3f}", fit.power_chi2 * (len(means) - 2), len(means) - 2)


def logarithmic_law(order: int) -> Fit:
    """The function that fits n^order / (c ln n)."""

    def fit_to(means: Sequence[SizeMean]) -> Fitted:
        fit = fit_scaling(means, order)
        return Fitted(f"c = {fit.c:.3f}", fit.log_chi2 * (len(means) - 1), len(means) - 1)

    return fit_to


def theory(means: Sequence[SizeMean]) -> Fitted:
    """The mean by theory times a factor, fitted; it does not hold where a size has no theory."""
    _, _, mean, error, expected, _ = np.array(means, float).T
    if np.isnan(expected).any():
        return Fitted("", math.inf, len(means) - 1)
    factor, _, chi2 = fit_factor(expected, mean, error)
    return Fitted(f"times {factor:.3f}", chi2 * (len(means) - 1), len(means) - 1)


def verdict(fit: ScalingFit, power: Fitted, log: Fitted) -> str:
    """Which of the two laws holds over all sizes."""
    between = f"Between n = {fit.sizes[0]:,} and {fit.sizes[-1]:,}"
    laws = [(power, f"a power law {power.law}"), (log, fit.log_law)]
    (better, name), (worse, other) = sorted(laws, key=lambda law: (not law[0].holds, law[0].reduced))
    if worse.holds:
        return (
            f"{between} both {name} and {other} fit the means (chi2/dof {better.reduced:.3g} and "
            f"{worse.reduced:.3g}): these trials cannot tell which law holds."
        )
    if better.holds:
        return (
            f"{between} {name} fits the means (chi2/dof {better.reduced:.3g}), and {other} does not "
            f"({worse.reduced:.3g})."
        )
    return (
        f"{between} {name} fits better than {other} (chi2/dof {better.reduced:.3g} against "
        f"{worse.reduced:.3g}), but neither holds."
    )


def ranges(fit: ScalingFit) -> str:
    """The longest range of at least three neighbouring sizes over which each law holds."""
    laws: list[tuple[str, Fit]] = [("a power law", power_law), (fit.log_law, logarithmic_law(fit.order))]
    if sum(not math.isnan(q.theory) for q in fit.means) >= 3:
        laws.append((f"the {fit.theory_name}", theory))
    found = {name: longest(fit.means, law) for name, law in laws}
    held = [f"{name} over {text}" for name, text in found.items() if text]
    missed = [name for name, text in found.items() if not text]
    said = []
    if held:
        said.append(f"{listed(held)} can hold")
    if missed:
        said.append(f"{listed(missed)} cannot hold over any three neighbouring sizes")
    return f"At the precision of these trials, {', while '.join(said)}."


def listed(names: Sequence[str]) -> str:
    """Names as "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def longest(means: Sequence[SizeMean], law: Fit) -> str | None:
    """The longest range over which a law holds, with the parameter of the law there."""
    best, text = 0.0, None
    for first in range(len(means) - 2):
        for last in range(first + 2, len(means)):
            length = means[last].n / means[first].n
            if length >= best and (fitted := law(means[first : last + 1])).holds:
                best, text = length, f"n = {means[first].n:,} to {means[last].n:,} ({fitted.law})"
    return text


def exponents(fit: ScalingFit, power: Fitted) -> str:
    """How the local exponent changes, and what the laws predict."""
    first, last = fit.local_exponents().points[0], fit.local_exponents().points[-1]
    values = [f"{q.exponent:.3f} +- {q.error:.3f} at n = {significant(q.n)}" for q in (first, last)]
    change = 0 if power.holds else significant_change(fit)
    verbs = {0: ("is", "and"), 1: ("rises from", "to"), -1: ("falls from", "to")}
    law = fit.log_law.replace("(c ln n)", "ln n")
    bits = "" if math.isnan(last.theory) else f" and the {fit.theory_name} {last.theory:.3f}"
    return (
        f"The local exponent d ln p / d ln n {verbs[change][0]} {values[0]} {verbs[change][1]} {values[1]}, "
        f"where {law} predicts {last.log_law:.3f}{bits}."
    )


def significant_change(fit: ScalingFit) -> int:
    """1 or -1 where the last local exponent is two standard errors above or below the first, else 0."""
    first, last = fit.local_exponents().points[0], fit.local_exponents().points[-1]
    change = last.exponent - first.exponent
    return int(np.sign(change)) if abs(change) > 2 * math.hypot(first.error, last.error) else 0


def why_power_looks_better(fit: ScalingFit, power: Fitted) -> Iterator[str]:
    """Why a law with a free exponent fits better while the capacity is far from its limit n / (4 ln n)."""
    first, last = (q.mean / q.limit for q in (fit.means[0], fit.means[-1]))  # nan where there is no limit
    if not first > last > 1:
        return
    ratio = (
        f"p is {first:.2f} times its limit for large n, n / (4 ln n), at n = {fit.sizes[0]:,} "
        f"and still {last:.2f} times at n = {fit.sizes[-1]:,}, "
        "a ratio that falls to 1 as slowly as ln ln n / ln n falls to 0"
    )
    if power.holds:
        yield f"A power law cannot hold for all n: {ratio}. Over this range {power.law} stands in for it."
    elif significant_change(fit) >= 0:
        below = math.log(first / last) / math.log(fit.sizes[-1] / fit.sizes[0])
        yield (
            f"A power law looks better because its free exponent takes up a correction: {ratio}. "
            f"On average the local exponent is {below:.3f} below that of n / ln n. "
            "A power law has one exponent, but the local one goes on rising towards 1."
        )
