"""Learning rules: each file holds one `Rule`, the couplings that stored patterns give."""

from .hebb import HEBB as HEBB
from .rule import Rule as Rule
