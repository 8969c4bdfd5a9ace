from .modules import GRU as GRU
from .modules import LSTM as LSTM
from .modules import RNN as RNN
from .replacement import speed_up as speed_up
from .replacement import survey as survey
