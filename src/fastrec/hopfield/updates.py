"""How recall updates the units of a Hopfield network."""

from typing import Literal

Update = Literal["async", "sync"]
"""One unit after another, each update seeing all earlier ones, or all units at once."""
