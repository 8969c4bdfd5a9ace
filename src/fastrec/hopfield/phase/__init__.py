"""The plane of load and temperature: how much of a memory a network holds at each."""

from ...imports import import_when_used

__getattr__, __dir__, __all__ = import_when_used(__name__)
