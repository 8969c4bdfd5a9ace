from .definition import CapacityDefinition as CapacityDefinition
from .result import CapacityResult as CapacityResult
from .result import ScalingResult as ScalingResult
from .run import capacity as capacity
from .run import capacity_scaling as capacity_scaling
from .statistics import ScalingFit as ScalingFit
