"""Classical sequence tasks, with data sets that are generated."""

from ..imports import import_when_used

__getattr__, __dir__, __all__ = import_when_used(__name__)
