"""Networks of one size differ: how many memories 1000 networks of 1000 units hold before the first failure.

Memories are stored one at a time, and after each all are probed with one bit flipped; the capacity is the
load before the first that fails. Blue: 1000 networks. Grey: the prediction of the binomial law of the
crosstalk, with all n p bits treated as independent and no fitted parameter. The capacity of networks of
1000 units is a distribution; to state it as a number, many networks are needed.
"""

import fastrec
from fastrec.plot import capacity_figure, save_figure


def main(n=1000, trials=1000, path="capacity_histogram.svg"):
    found = fastrec.capacity(n, trials)
    save_figure(capacity_figure(found), path)
    print(found.table())
    print(f"wrote {path}")
    return found


if __name__ == "__main__":
    main()
