from .definition import PhaseDefinition as PhaseDefinition
from .result import PhaseOutcome as PhaseOutcome
from .result import PhasePoint as PhasePoint
from .result import PhaseResult as PhaseResult
from .run import phase_diagram as phase_diagram
