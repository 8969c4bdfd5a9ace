"""Echo state networks: reservoirs of fixed random weights, and a readout learnt by ridge regression."""

from ..imports import import_when_used

__getattr__, __dir__, __all__ = import_when_used(__name__)
