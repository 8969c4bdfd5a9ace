from .addition import AdditionResult as AdditionResult
from .addition import addition as addition
from .addition import addition_task as addition_task
from .cognitive import Trials as Trials
from .cognitive import delayed_comparison as delayed_comparison
from .cognitive import perceptual_decision as perceptual_decision
from .series import mackey_glass as mackey_glass
from .series import narma as narma
