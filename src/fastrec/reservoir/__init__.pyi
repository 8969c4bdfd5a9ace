from .memory_capacity import MemoryCapacity as MemoryCapacity
from .network import EchoState as EchoState
