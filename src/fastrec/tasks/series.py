"""Time series that reservoirs are tested on: the Mackey-Glass equation and NARMA systems."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..streams import Seed, generator
from ..validation import as_int, number, require_memory

MOST_STEPS = 10**9
SUBSTEPS = 10  # of the Mackey-Glass equation, of a unit of time
SETTLING = 1000  # values before the first one that is returned


def mackey_glass(steps: int, tau: float = 17, *, seed: Seed = 0) -> NDArray[np.float64]:
    """Integrate the Mackey-Glass equation, which is chaotic for tau above 16.8.

    dx/dt = 0.2 x(t - tau) / (1 + x(t - tau)^10) - 0.1 x(t) (Mackey & Glass, Science 197, 287, 1977), by a
    Runge-Kutta method of fourth order with ten steps in a unit of time, from 1.2 with a little noise; the
    first 1000 values are left out.

    Parameters
    ----------
    steps : int
        Number of values, one in each unit of time.
    tau : float, default 17
        The delay, from 1; it is rounded to a tenth.
    seed : int, numpy.random.Generator or None, default 0
        As in `RNN`, of the values before the first.

    Returns
    -------
    ndarray of shape (steps,)
        float64, from about 0.2 to 1.4.

    Raises
    ------
    ValueError
        For invalid arguments.

    Examples
    --------
    >>> u = fastrec.mackey_glass(1000)
    >>> u.shape, bool(0.2 < u.min() and u.max() < 1.4)
    ((1000,), True)
    """
    steps = as_int("steps", steps, 1, MOST_STEPS)
    late = round(number("tau", tau, 1, 1e6, closed=True) * SUBSTEPS)
    require_memory("the series", 40 * (steps + SETTLING) * SUBSTEPS)
    rng = generator(seed)
    x = list(1.2 + 0.1 * rng.uniform(-1, 1, late + 2))
    dt = 1 / SUBSTEPS

    def birth(x: float) -> float:
        return 0.2 * x / (1 + x**10)

    for now in range(late + 1, late + 1 + (steps + SETTLING - 1) * SUBSTEPS):
        a, b, c, d = x[now - late - 1 : now - late + 3]
        y, begin, middle, end = x[now], birth(b), birth((9 * (b + c) - a - d) / 16), birth(c)
        k1 = begin - 0.1 * y
        k2 = middle - 0.1 * (y + dt / 2 * k1)
        k3 = middle - 0.1 * (y + dt / 2 * k2)
        k4 = end - 0.1 * (y + dt * k3)
        x.append(y + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4))
    return np.array(x[late + 1 + SETTLING * SUBSTEPS :: SUBSTEPS])


def narma(steps: int, order: int = 10, *, seed: Seed = 0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Generate random inputs, and the outputs of a nonlinear autoregressive system that reads them.

    y_{t+1} = 0.3 y_t + 0.05 y_t (y_t + ... + y_{t-n+1}) + 1.5 u_{t-n+1} u_t + 0.1 with u uniform from 0 to
    0.5 (Atiya & Parlos, IEEE Trans. Neural Networks 11, 697, 2000, for order n = 10).

    Parameters
    ----------
    steps : int
        Number of steps.
    order : int, default 10
        The order n, 1 to 20; larger ones grow without bound.
    seed : int, numpy.random.Generator or None, default 0
        As in `RNN`, of the inputs.

    Returns
    -------
    u, y : ndarray of shape (steps,)
        float64.  y[t] depends on u up to u[t - 1], so that a network that reads u[t] may learn y[t + 1].

    Raises
    ------
    ValueError
        For invalid arguments, and for inputs with which the system diverges.

    Examples
    --------
    >>> u, y = fastrec.narma(2000, seed=1)
    >>> bool(0.1 < y[20:].min() and y.max() < 1)
    True
    """
    steps, order = as_int("steps", steps, 1, MOST_STEPS), as_int("order", order, 1, 20)
    require_memory("the series", 80 * steps)
    rng = generator(seed)
    inputs = rng.uniform(0, 0.5, steps)
    u, y = inputs.tolist(), [0.0] * steps
    for t in range(steps - 1):
        first = max(0, t - order + 1)
        far = u[t - order + 1] if t >= order - 1 else 0.0
        y[t + 1] = 0.3 * y[t] + 0.05 * y[t] * sum(y[first : t + 1]) + 1.5 * far * u[t] + 0.1
        if y[t + 1] > 1e6:
            raise ValueError(f"seed is {seed}, with which the system diverges after {t} steps; give another")
    return inputs, np.array(y)
