"""Tokens drawn one after the other, each being the next input: checks, and the kernel call."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..backend import kernels
from ..streams import Seed, read_seed
from ..validation import as_int, number, require_memory
from .config import MAX_SIZE, Array, Config
from .device import Precision, multiplying
from .stepping import NOT_FINITE, kernel_network
from .validation import Batch, require_steps

COLDEST, HOTTEST = 1e-6, 1e6  # temperatures besides 0, which float32 can divide by


class Sampling(NamedTuple):
    """How tokens are drawn, as kernels take it."""

    temperature: float
    top_k: int
    top_p: int


def read_sampling(i: int, temperature: Any, top_k: Any, top_p: Any) -> Sampling:
    """Check how to draw one of i tokens; see `RNN.generate`."""
    temperature = number("temperature", temperature, 0, closed=True)
    if not (temperature == 0 or COLDEST <= temperature <= HOTTEST):
        raise ValueError(f"temperature is {temperature:g}; it must be 0, or from {COLDEST:g} to {HOTTEST:g}")
    most = i if top_k is None else min(i, as_int("top_k", top_k, 1, MAX_SIZE))
    share = 1.0 if top_p is None else number("top_p", top_p, 0)
    if share > 1:
        raise ValueError(f"top_p is {share:g}; it must be at most 1")
    return Sampling(temperature, most, min(int(share * 2**64), 2**64 - 1))


def generate(
    c: Config,
    precision: Precision,
    read: Callable[[], Batch],
    steps: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    seed: Seed,
    stop: int | None,
    first: int,
) -> tuple[Batch, Array, Array]:
    """The checked prompt, tokens (b, steps) and states (layers, 1, b, s); see `RNN.generate`.

    read: checks the prompt, its lengths and the state, and returns them as a batch.
    """
    i = c.input_size
    if c.models is not None:
        raise ValueError(f"these are {c.models} networks, and one generates; copy(model=j) makes one of them")
    require_steps(c, "what it draws comes last")
    if c.output_size != i:
        raise ValueError(
            f"output_size is {c.output_size} and input_size {i}; to read what it has drawn the network needs "
            "as many outputs as inputs"
        )
    steps = as_int("steps", steps, 1, MAX_SIZE)
    first = as_int("first", first, 0, MAX_SIZE)
    seed = read_seed(seed)
    stop = -1 if stop is None else as_int("stop", stop, 0, i - 1)
    sampling = read_sampling(i, temperature, top_k, top_p)
    try:
        batch = read()
    except ValueError as error:
        raise ValueError(re.sub("^x ", "prompt ", str(error))) from None
    if batch.tokens is batch.device.no_tokens:
        raise ValueError("prompt holds numbers; give integer tokens (b, t)")
    if batch.valid is not None and int(batch.lengths.min()) < 1:
        raise ValueError("lengths holds 0; each row needs a prompt of at least one token")
    b, t = batch.tokens.shape[1:]
    if not t:
        raise ValueError(f"prompt is empty, shape {batch.tokens.shape[1:]}; give at least one token a row")
    device = batch.device
    require_memory("the tokens", 4 * b * steps, backend=device.backend)
    drawn, last = device.xp.empty((b, steps), np.int32), device.xp.empty_like(batch.start)
    prompts = (batch.tokens[0], batch.lengths, batch.start)
    network = kernel_network(c, batch.weights, device.xp)
    module = multiplying(precision, kernels("generation", device.backend))
    module.generate(c.cell, *prompts, *network, *sampling, stop, seed, first, drawn, last)
    if int(drawn.min()) < 0:
        raise FloatingPointError(NOT_FINITE)
    return batch, drawn, last
