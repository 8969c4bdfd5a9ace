"""Retrieval with errors: how close to a memory recall ends."""

from ...imports import import_when_used

__getattr__, __dir__, __all__ = import_when_used(__name__)
