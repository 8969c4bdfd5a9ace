from .addition import AdditionResult as AdditionResult
from .addition import addition as addition
from .addition import addition_task as addition_task
