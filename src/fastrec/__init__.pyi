from . import hopfield as hopfield
from . import onnx as onnx
from . import plot as plot
from . import reservoir as reservoir
from . import rnn as rnn
from . import tasks as tasks
from . import text as text
from . import torch as torch
from .backend import BackendError as BackendError
from .backend import available_backends as available_backends
from .backend import get_backend as get_backend
from .backend import set_backend as set_backend
from .backend import use_backend as use_backend
from .hopfield import *
from .reservoir import *
from .rnn import *
from .tasks import *
from .text import *
from .threads import get_threads as get_threads
from .threads import set_threads as set_threads

__version__: str
