"""Hopfield networks on the GPU: the launches of cuda/*.cu."""

from .dense import dense_async, dense_sync
from .fields import is_stable, local_fields, local_fields_weights, quadratic_form, signed_sums
from .glauber import glauber_async, glauber_async_weights, glauber_sync, glauber_sync_weights
from .learning import perceptron, storkey
from .packing import pack, transpose, unpack
from .products import couplings, overlaps
from .random import biased_patterns, corrupt, corrupt_states, philox, random_order, random_patterns
from .recall import recall_async, recall_async_weights, recall_sequence, recall_sync, recall_sync_weights

__all__ = [name for name in dir() if not name.startswith("_")]
