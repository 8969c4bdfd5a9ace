"""Long short-term memory with peepholes on the CPU: the kernels of an LSTM with other functions of a unit."""

from __future__ import annotations

from .arrays import add
from .elementwise import elementwise
from .functions import logistic, tanh
from .jit import jit
from .lstm import backward, backward_rows, forward, forward_rows
from .time_loop import quarters
from .values import fma

__all__ = ["lstm_peepholes_backward", "lstm_peepholes_forward"]


@jit
def thirds(values):
    """The three parts of values (3 h), one for each gate that has a peephole."""
    h = len(values) // 3
    return values[:h], values[h : 2 * h], values[2 * h :]


@elementwise
def peephole_output(i, f, g, o, c, p_i, p_f, p_o):
    """h and c, each twice, and the gates i, f, g, o, from the sums of the gates and the last c."""
    i, f, g = logistic(fma(p_i, c, i)), logistic(fma(p_f, c, f)), tanh(g)
    c = fma(f, c, i * g)
    o = logistic(fma(p_o, c, o))
    h = o * tanh(c)
    return h, h, c, c, i, f, g, o


@jit
def peephole_units(sums, c, p, made):
    """Fill made, as `peephole_output` has it, of the units of a row."""
    (i, f, g, o), (p_i, p_f, p_o) = quarters(sums), thirds(p)
    peephole_output((i, f, g, o, c, p_i, p_f, p_o), made)


@elementwise
def peephole_back(i, f, g, o, c, last, d_h, carry, d_c, p_i, p_f, p_o, sum_i, sum_f, sum_o):
    """As `lstm_back`, and the gradients of p, added to those of later steps."""
    d_h, squashed = d_h + carry, tanh(c)
    d_o = d_h * squashed * (o - o * o)
    d_c = fma(d_o, p_o, d_c + d_h * (o - o * squashed * squashed))
    d_i, d_f, d_g = d_c * g * (i - i * i), d_c * last * (f - f * f), d_c * (i - i * g * g)
    sums = fma(d_i, last, sum_i), fma(d_f, last, sum_f), fma(d_o, c, sum_o)
    d_last = fma(d_i, p_i, fma(d_f, p_f, d_c * f))
    return d_i, d_f, d_g, d_o, d_i, d_f, d_g, d_o, d_last, d_c.zero(), *sums


@jit
def peephole_units_back(gates, c, last, d_row, carry, d_c, p, d_p, made):
    """Fill made, as `lstm_back` has it, of the units of a row, and add to d_p."""
    (i, f, g, o), (p_i, p_f, p_o), (d_pi, d_pf, d_po) = quarters(gates), thirds(p), thirds(d_p)
    peephole_back(
        (i, f, g, o, c, last, d_row, carry, d_c, p_i, p_f, p_o, d_pi, d_pf, d_po), (*made, d_pi, d_pf, d_po)
    )


peepholes_forward_rows = forward_rows("lstm_peepholes_forward_rows", peephole_units)
peepholes_backward_rows = backward_rows("lstm_peepholes_backward_rows", peephole_units_back)


def lstm_peepholes_forward(
    x, tokens, lengths, state, W_in, W_rec, b, p, hidden, cells, gates, *, precision="float32"
):
    """lstm_forward with p_i c_{t-1}, p_f c_{t-1} and p_o c_t added to the sums of i, f and o."""
    arrays = (x, tokens, lengths, state, W_in, W_rec, b, p, hidden, cells, gates)
    forward(peepholes_forward_rows, precision, *arrays)


def lstm_peepholes_backward(
    x,
    tokens,
    lengths,
    state,
    hidden,
    cells,
    gates,
    W_in,
    W_rec,
    p,
    d_hidden,
    d_last,
    d_gates,
    d_x,
    d_state,
    d_W_in,
    d_W_rec,
    d_b,
    d_p,
    flow,
    *,
    precision="float32",
):
    """BPTT through lstm_peepholes_forward."""
    trace = (x, tokens, lengths, state, hidden, cells, gates, W_in, W_rec, p)
    gradients = (d_hidden, d_last, d_gates, d_x, d_state, d_W_in, d_W_rec, d_b, d_p, flow)
    backward(peepholes_backward_rows, precision, *trace, *gradients)


@jit
def lstm_peepholes_step(activation, z, p, own, before, cells, after):
    """As `lstm_step`, own holding p of the units i, f, o at equal distances."""
    add(p, z)
    i, f, g, o = quarters(z)
    peephole_units(z, cells, own, (after, after, cells, cells, i, f, g, o))


@jit
def lstm_peepholes_step_back(activation, kept, own, last, c_last, c, d_h, carry, d_c, d_own, d):
    """As `lstm_step_back`, adding to d_own."""
    i, f, g, o = quarters(d)
    peephole_units_back(kept, c, c_last, d_h, carry, d_c, own, d_own, (i, f, g, o, i, f, g, o, d_c, carry))
