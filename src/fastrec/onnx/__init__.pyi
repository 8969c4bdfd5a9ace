from .exporting import export as export
from .loading import Model as Model
from .loading import load as load
