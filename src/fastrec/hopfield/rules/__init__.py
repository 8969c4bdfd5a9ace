"""Learning rules: each file holds one `Rule`, the couplings that stored patterns give."""

from .covariance import COVARIANCE
from .hebb import HEBB as HEBB
from .perceptron import PERCEPTRON
from .projection import PROJECTION
from .rule import Learnt as Learnt
from .rule import Rule as Rule
from .sequence import SEQUENCE
from .storkey import STORKEY

RULES: dict[str, Rule] = {
    rule.name: rule for rule in (HEBB, STORKEY, PROJECTION, PERCEPTRON, COVARIANCE, SEQUENCE)
}
