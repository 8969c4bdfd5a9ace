"""Storage capacity: how many memories a network holds that all come back exactly."""

from ...imports import import_when_used

__getattr__, __dir__, __all__ = import_when_used(__name__)
