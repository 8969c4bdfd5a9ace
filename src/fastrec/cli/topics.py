"""The topics of a course on recurrent networks: what to run for each, and what to read and look at.

`fastrec course` prints them, and docs/generated.py writes them into docs/course.md.
"""

from __future__ import annotations

from typing import NamedTuple


class Topic(NamedTuple):
    """What to run, a command; what to read, pages of docs with sections; and scripts with a picture each."""

    title: str
    run: str = ""
    read: tuple[str, ...] = ()
    scripts: tuple[str, ...] = ()


CAPACITY, TEXT, QUESTIONS = "tutorials/capacity.md", "tutorials/text.md", "tutorials/questions.md"
LEARNT, PAST = "how-to/automata.md", "how-to/memoryless.md"

COURSE: dict[str, tuple[Topic, ...]] = {
    "Hopfield networks": (
        Topic("Why a Hopfield network is recurrent", "", (f"{QUESTIONS}#hopfield-networks",)),
        Topic(
            "Memories are stored, and recalled from noisy probes",
            "fastrec recall ATOM --flips 0.25",
            (f"{CAPACITY}#the-same-with-fastrec", "how-to/recall.md"),
            ("recall_letters", "course"),
        ),
        Topic("When recall stops: energy and attractors", "", (f"{CAPACITY}#downhill",), ("energy",)),
        Topic(
            "A synchronous network that does not settle, and the cure",
            "",
            (f"{CAPACITY}#all-at-once",),
            ("two_cycle",),
        ),
        Topic(
            "Why the inverse of a stable state is stable",
            "",
            (f"{QUESTIONS}#why-is-the-inverse-of-a-stable-state-stable",),
        ),
        Topic(
            "The capacity of one size, measured with one wrong bit",
            "fastrec capacity --sizes 400",
            (f"{CAPACITY}#the-capacity-of-one-network",),
            ("capacity_histogram", "signal_and_noise"),
        ),
        Topic(
            "Capacity against size: the scaling",
            "fastrec capacity --sizes 10:10000:log13",
            (f"{CAPACITY}#the-curve",),
            ("capacity_curve",),
        ),
    ),
    "What recurrent networks do": (
        Topic("Oscillation, point attractors, chaos", "", (), ("dynamics",)),
        Topic(
            "Architectures: one to many, many to one, many to many, sequence to sequence",
            "",
            ("how-to/small-rnns.md",),
            ("captions", "classify", "predict", "reverse", "number_names"),
        ),
        Topic(
            "Batches, steps, features, and padding",
            "",
            ("how-to/small-rnns.md#give-lengths-instead-of-computing-padding",),
        ),
        Topic("Elman and Jordan networks, and what Jordan networks forget", "", (), ("jordan_elman",)),
        Topic("A convolution over time as the rival", "", (f"{PAST}#convolutions",), ("convolution",)),
    ),
    "Models of sequences without memory, and with a little": (
        Topic(
            "Targets in another domain, or the next term of the sequence",
            "",
            (f"{PAST}#put-the-last-steps-side-by-side", f"{PAST}#let-answers-come-later"),
            ("predict",),
        ),
        Topic(
            "Autoregressive models with delay taps, and feed-forward networks",
            "",
            (f"{PAST}#autoregression-linear-and-not",),
            ("memoryless",),
        ),
        Topic(
            "Linear dynamical systems and hidden Markov models",
            "",
            (f"{PAST}#six-models-three-sequences",),
            ("memoryless",),
        ),
        Topic(
            "N hidden states hold log2 N bits: the second half of a sentence",
            "",
            (f"{PAST}#how-much-a-hidden-markov-model-can-remember",),
            ("hmm_bound",),
        ),
        Topic(
            "Sixteen units hold more than sixteen bits",
            "",
            (f"{QUESTIONS}#how-much-does-a-hidden-markov-model-know-of-the-past-and-how-much-an-rnn",),
        ),
        Topic(
            "Whether generative models need to be stochastic",
            "",
            (f"{QUESTIONS}#does-a-generative-model-need-to-be-stochastic",),
        ),
    ),
    "Backpropagation through time": (
        Topic(
            "The hidden state and the gradient of one unit",
            "",
            (f"{TEXT}#one-unit-forward", f"{TEXT}#its-gradient-by-hand"),
            ("one_neuron",),
        ),
        Topic(
            "Unfolding in time; equal weights by summed gradients",
            "",
            (f"{LEARNT}#an-unfolded-network-is-a-layered-one-with-equal-weights",),
            ("unrolled",),
        ),
        Topic(
            "BPTT, with a stack of activities",
            "",
            (f"{TEXT}#unrolling-and-backpropagation-through-time", "explanation/fused-step.md"),
        ),
        Topic("Why the backward pass is linear", "", (f"{QUESTIONS}#why-is-the-backward-pass-linear",)),
        Topic(
            "Gradients that vanish or explode",
            "",
            (f"{TEXT}#gradients-that-vanish-or-explode",),
            ("gradient_flow",),
        ),
        Topic("Truncated BPTT with k1 and k2", "", (f"{TEXT}#truncated-bptt",)),
        Topic(
            "Initial states, fixed or learnt",
            "",
            (f"{LEARNT}#fixed-or-learnt-initial-states",),
            ("initial_state",),
        ),
        Topic(
            "Inputs and targets of some steps, or of some units",
            "",
            ("how-to/training.md#weigh-steps-sequences-and-classes", "how-to/neuroscience.md"),
        ),
    ),
    "Binary addition": (
        Topic(
            "A network of a few hidden units adds, and its learning curve",
            "fastrec addition",
            (f"{TEXT}#a-first-task-that-needs-memory",),
            ("addition",),
        ),
        Topic(
            "The automaton that it has learnt", "", (f"{LEARNT}#the-automaton-in-a-network",), ("automaton",)
        ),
        Topic("Where a feed-forward network fails", "", (f"{PAST}#where-a-window-ends",), ("adders",)),
        Topic(
            "Two additions at once: an automaton squares its states, a network doubles its units",
            "",
            (f"{LEARNT}#two-things-at-once",),
            ("two_adders",),
        ),
    ),
    "Four ways to learn": (
        Topic(
            "LSTM, Hessian-free, echo states, initialisation with momentum",
            "fastrec course four-ways --quick",
            ("results/four-ways.md",),
        ),
        Topic("Hessian-free optimisation", "", ("how-to/training.md#take-newton-steps",)),
        Topic("Echo states", "", ("how-to/echo-states.md",), ("echo_state", "memory_capacity")),
        Topic(
            "A memory cell writes, keeps and reads",
            "",
            (
                f"{TEXT}#why-gates",
                f"{QUESTIONS}#how-does-an-lstm-write-keep-and-read-a-number-and-what-does-backpropagation-do-there",
            ),
        ),
    ),
    "Handwriting, speech, pictures": (
        Topic(
            "Cursive handwriting, from (x, y, pen) to letters",
            "",
            ("how-to/handwriting.md", "how-to/ctc.md"),
            ("handwriting",),
        ),
        Topic(
            "The quiz of speech: 30 or 200 ms of input, and what was said 100 ms before",
            "",
            ("how-to/speech.md",),
            ("speech_quiz",),
        ),
        Topic("Descriptions of pictures", "", ("how-to/captions.md",), ("captions",)),
    ),
    "Language": (
        Topic(
            "The Markov assumption, and n-grams",
            "",
            (f"{TEXT}#the-baseline-n-grams", "how-to/words.md#counts-the-markov-assumption"),
            ("ngrams",),
        ),
        Topic(
            "Tokens, one-hot vectors, logits, softmax",
            "",
            (f"{TEXT}#a-language-tokens-one-hot-cross-entropy",),
        ),
        Topic('"hello": the same letter needs different outputs', "", (), ("hello",)),
        Topic(
            "A text generator of characters",
            "fastrec text train",
            (f"{TEXT}#a-model-of-characters",),
            ("write", "text_curve"),
        ),
        Topic(
            "Temperature, top-k and top-p; a thousand characters from a prompt of yours",
            'fastrec text sample model.npz --prompt "ROMEO:" --length 1000',
            (f"{TEXT}#sampling",),
            ("temperature",),
        ),
        Topic("Words: lemmas, embeddings, CBOW and skip-gram", "", ("how-to/words.md",), ("words",)),
        Topic(
            "Translation with attention",
            "fastrec translate train PAIRS.tsv",
            (f"{TEXT}#from-sequence-to-sequence-and-attention", "results/translation.md"),
            ("translate", "attention"),
        ),
    ),
}
