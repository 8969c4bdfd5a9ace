"""The steps of scripts/gpu-check, in the order in which they run."""

from typing import NamedTuple


class Step(NamedTuple):
    """A step and its time.

    `job` is "module:function" of this package, called with a `Report` in its own process. `expected` and
    `limit` are the planned and the maximum seconds. `default` says whether it runs when no step is named.
    """

    name: str
    job: str
    expected: int
    limit: int
    default: bool
    about: str


STEPS = (
    Step("card", "card:card", 15, 40, True, "attributes of the card, rates of its memory and units"),
    Step("compile", "compile:compile_all", 40, 120, True, "all kernels compiled into CuPy's cache"),
    Step("kernels-hopfield", "kernels:hopfield", 15, 45, True, "Hopfield kernels at awkward sizes, exact"),
    Step("kernels-rnn", "kernels:recurrent", 20, 60, True, "recurrent kernels at awkward sizes"),
    Step("kernels-teams", "kernels:teams", 15, 45, True, "kernels whose blocks wait for each other"),
    Step("capacity", "capacity:capacity", 30, 100, True, "capacities of 10 000 and 100 000 units"),
    Step("main-job", "scaling:main_job", 25, 100, True, "capacity up to a million units, into a run file"),
    Step("million", "million:million", 25, 75, True, "a million units and their recall"),
    Step("recurrent", "recurrent:recurrent", 50, 150, True, "recurrent networks, beside PyTorch"),
    Step("training", "training:training", 20, 60, True, "fit, resumed from a checkpoint; text drawn"),
    Step("torch", "torch_modules:modules", 10, 60, True, "fastrec.torch, beside torch.nn"),
    Step("suite", "suite:suite", 35, 60, True, 'tests on backend "gpu", as many as time allows'),
    Step("cards", "scaling:cards", 45, 120, False, "capacity on all cards, a process each"),
    Step("sanitizer", "sanitizer:sanitizer", 60, 180, False, "compute-sanitizer on small jobs"),
    Step("patterns", "patterns:patterns", 30, 120, False, "random patterns, checked by the CPU"),
    Step("packing", "packing:packing", 30, 120, False, "packing and transposing, checked by the CPU"),
    Step("gram", "gram:gram", 60, 180, False, "Gram matrix of bits, beside CuPy"),
    Step("couplings", "couplings:couplings", 60, 180, False, "couplings, checked by the CPU"),
    Step("fields", "fields:fields", 60, 180, False, "local fields, checked by the CPU"),
    Step("recall", "recall:recall", 60, 240, False, "recall in several forms, checked by the CPU"),
    Step("dense", "dense:dense", 60, 240, False, "recall of dense memories, checked by the CPU"),
    Step(
        "plans",
        "plans:plans",
        60,
        180,
        False,
        "steps of recurrent networks by other plans than the one chosen",
    ),
    Step("generation", "generation:generation", 60, 180, False, "texts drawn by a GRU, beside PyTorch"),
    Step(
        "million-on-cpu", "million:on_cpu", 500, 900, False, "a million units, checked by the CPU, in 50 GB"
    ),
)
