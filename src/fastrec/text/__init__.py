"""Models of text: vocabularies, language models, n-grams, encoders with decoders."""

from ..imports import import_when_used

__getattr__, __dir__, __all__ = import_when_used(__name__)
