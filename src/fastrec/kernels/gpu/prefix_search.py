"""The likeliest labels of sequences on the GPU, by prefix beam search: a block takes the steps of a row."""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from .module import launch
from .random import THREADS
from .recall import block_memory
from .time_loop import float_type


def ctc_prefix_search(
    width: int, blank: int, outputs: Any, lengths: Any, labels: Any, counts: Any, scores: Any
) -> None:
    """The likeliest labels of each row."""
    b, t, o = outputs.shape
    trees = cupy.empty((b, 5, 1 + t * width), np.int64)
    scratch, nbytes = block_memory(8 * (width * (o + 10) + o), b)
    launch(
        *("ctc", f"ctc_prefix_search<{float_type(outputs)}>", b, THREADS),
        *(
            outputs,
            lengths,
            width,
            blank,
            t,
            o,
            labels.shape[1],
            trees,
            scratch,
            nbytes,
            labels,
            counts,
            scores,
        ),
        shared=0 if scratch is not None else nbytes,
    )
