"""Theory of capacity and retrieval, to be drawn over measured curves.

Exact recall of every memory (what `fastrec.capacity` measures) ends with single rare bits, so it follows the
binomial tail of the crosstalk on one bit, and n/(4 ln n) as n grows.  Retrieval with a few errors follows
Amit, Gutfreund and Sompolinsky (AGS) up to its sharp end at the load alpha_c = 0.1379, lower at a
temperature. Other rules and memories have laws of their own: Storkey's, perceptrons (Gardner, Cover), dense
memories, sequences, sparse patterns.  Everywhere n is the number of units, p that of patterns, and alpha =
p/n the load.
"""

from ...imports import import_when_used

__getattr__, __dir__, __all__ = import_when_used(__name__)
