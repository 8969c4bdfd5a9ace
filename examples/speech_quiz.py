"""A quiz about memory: which of four networks can say what was spoken 100 ms ago?

A network hears speech, one spectrum every 10 ms, and is to name the phoneme of 100 ms before. Four are asked:
a feed-forward network that sees the last 200 ms at each step, one that sees the last 30 ms, and a recurrent
network with either input. After 100 ms the phoneme has left a window of 30 ms: the feed-forward network
guesses from what followed, the recurrent one has heard it and remembers. The other two still see it.

The speech is generated: syllables of 13 phonemes, each with formants and noise of its own, that glide into
each other, by voices of different size. With the argument "espeak" the script takes the synthesiser eSpeak NG
instead, if that is installed (Debian calls the library libespeak-ng1), which reads "Romeo and Juliet" and
says when each phoneme begins.
"""

import ctypes
import sys
from itertools import count, takewhile

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import fastrec

LATE = 10  # steps of 10 ms between a phoneme and the answer
BANDS = 16
NETWORKS = {  # the cell, and how many steps it sees at a time; in sequences of one step "elman" has no past
    "feed-forward, 200 ms": ("elman", 20),
    "feed-forward, 30 ms": ("elman", 3),
    "recurrent, 200 ms": ("gru", 20),
    "recurrent, 30 ms": ("gru", 3),
}
PHONEMES = {  # two formants (Hz) and how loud they are, the centre of a noise (Hz) and how loud it is
    "p": (300, 900, 0.0, 600, 0.5),
    "t": (300, 1700, 0.0, 4500, 0.5),
    "k": (300, 2200, 0.0, 1800, 0.5),
    "s": (300, 1700, 0.0, 5000, 1.0),
    "sh": (300, 1900, 0.0, 2800, 1.0),
    "m": (280, 1000, 0.4, 3000, 0.0),
    "n": (280, 1600, 0.4, 3000, 0.0),
    "l": (380, 1200, 0.6, 3000, 0.0),
    "a": (800, 1250, 1.0, 3000, 0.0),
    "e": (500, 1900, 1.0, 3000, 0.0),
    "i": (290, 2300, 1.0, 3000, 0.0),
    "o": (480, 900, 1.0, 3000, 0.0),
    "u": (310, 750, 1.0, 3000, 0.0),
}
STOPS, CONSONANTS = 3, 8  # the first phonemes are silent but for a burst at the end; vowels are the last


def mel(frequency):
    """How high a frequency (Hz) sounds."""
    return 1127 * np.log(1 + np.asarray(frequency) / 700)


def generated(n, steps, noise=0.8, seed=0):
    """n utterances: logarithms of energies (n, steps, bands), phonemes (n, steps), and their names."""
    random = np.random.default_rng(seed)
    bands, sounds = np.linspace(mel(150), mel(6000), BANDS), np.array([*PHONEMES.values()])
    glide = np.hanning(7) / np.hanning(7).sum()
    x, labels = np.empty((n, steps, BANDS)), np.empty((n, steps), int)
    for row in range(n):
        phonemes = random.integers(0, CONSONANTS, steps // 5)
        phonemes[1::2] = random.integers(CONSONANTS, len(PHONEMES), len(phonemes[1::2]))
        lengths = random.integers(5, 21, len(phonemes))  # 50 to 200 ms
        labels[row] = np.repeat(phonemes, lengths)[:steps]
        position = np.concatenate([np.arange(length) / length for length in lengths])
        course = np.repeat(sounds[phonemes], lengths, axis=0)
        course[(np.repeat(phonemes, lengths) < STOPS) & (position < 0.6), 4] = 0
        course = np.array([np.convolve(curve, glide, "same") for curve in course.T])
        first, second, voiced, centre, hiss = course[:, :steps, None]
        size = np.exp(0.06 * random.standard_normal())
        peaks = sum(np.exp(-(((bands - mel(size * formant)) / 120) ** 2)) for formant in (first, second))
        energy = voiced * peaks + hiss * np.exp(-(((bands - mel(centre)) / 300) ** 2))
        x[row] = np.log(energy + 0.03) + noise * random.standard_normal((steps, BANDS))
    return x, labels, [*PHONEMES]


class Event(ctypes.Structure):
    """What eSpeak NG reports while it speaks: `espeak_EVENT` of its speak_lib.h."""

    _fields_ = (
        *((name, ctypes.c_int) for name in ("type", "id", "text", "length", "milliseconds", "sample")),
        ("user_data", ctypes.c_void_p),
        ("name", ctypes.c_char * 8),
    )


def speak(text):
    """The samples of eSpeak NG, their rate (Hz), the first sample of each phoneme, and its name."""
    library = ctypes.CDLL("libespeak-ng.so.1")
    rate = library.espeak_Initialize(2, 0, None, 1)  # returns samples, and reports phonemes
    samples, begins, names = [], [], []

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(Event))
    def hear(wave, length, events):
        if wave:
            samples.append(np.ctypeslib.as_array(wave, (length,)).copy())
        for event in takewhile(lambda event: event.type, map(events.__getitem__, count())):
            if event.type == 7:  # a phoneme begins
                begins.append(event.sample)
                names.append(event.name.decode())
        return 0

    library.espeak_SetSynthCallback(hear)
    library.espeak_Synth(text.encode(), len(text.encode()) + 1, 0, 0, 0, 1, None, None)
    return np.concatenate(samples) / 2**15, rate, begins, names


def espeak(n, steps):
    """As `generated`, of eSpeak NG that reads "Romeo and Juliet"."""
    wave, rate, begins, names = speak(fastrec.example_text()[: n * steps // 5])
    window = np.hanning(512)  # 23 ms
    first = np.arange(n * steps) * rate // 100
    wave = np.append(wave, np.zeros(max(0, first[-1] + len(window) - len(wave))))
    frames = np.lib.stride_tricks.sliding_window_view(wave, len(window))
    edges, pitch = np.linspace(mel(100), mel(8000), BANDS + 2), mel(np.fft.rfftfreq(len(window), 1 / rate))
    filters = np.stack([np.interp(pitch, edges[i : i + 3], [0, 1, 0]) for i in range(BANDS)], axis=1)
    rows = first.reshape(n, steps)
    x = [np.log(np.abs(np.fft.rfft(frames[row] * window)) ** 2 @ filters + 1e-6) for row in rows]
    symbols, tokens = np.unique(["_" if "_" in name else name for name in names], return_inverse=True)
    last = np.searchsorted(begins, rows + len(window) // 2, "right") - 1  # that has begun
    return np.array(x), tokens[last.clip(0)], symbols.tolist()


def one_step(array):
    """Sequences (n, t, ...) cut into sequences (n t, 1, ...) of one step."""
    return array.reshape(-1, 1, *array.shape[2:])


def main(speech="generated", trained=800, tested=80, epochs=12, hidden_size=96, path="speech_quiz.png"):
    x, labels, names = {"generated": generated, "espeak": espeak}[speech](trained + tested, steps=300)
    x = ((x - x[:trained].mean()) / x[:trained].std()).astype(np.float32)
    targets, mask = fastrec.delay_targets(labels, LATE)
    truth, judged = targets[trained:], mask[trained:]
    shares = np.bincount(labels[:trained].ravel()) / labels[:trained].size
    print(
        f"{len(names)} phonemes in {trained} utterances of 3 s, the commonest {shares.max():.0%} of the time"
    )

    answers, right = {}, {}
    for name, (cell, taps) in NETWORKS.items():
        seen = fastrec.delayed(x, taps)
        rnn = fastrec.RNN(seen.shape[2], hidden_size, len(names), cell, seed=1)
        data, size, passes = (seen[:trained], targets[:trained], mask[:trained]), 16, epochs
        if cell == "elman":
            data, size, passes = [one_step(array) for array in data], 256, -(-epochs // 2)
        decay = fastrec.CosineDecay(passes * -(-len(data[0]) // size))
        optimizer = fastrec.Adam(0.005 if cell == "gru" else 0.002, clip=1.0)
        options = {"epochs": passes, "batch_size": size, "optimizer": optimizer, "schedule": decay}
        history = fastrec.fit(rnn, data[0], data[1], mask=data[2], seed=0, progress=False, **options)
        unseen = seen[trained:] if cell == "gru" else one_step(seen[trained:])
        answers[name] = rnn.predict(unseen)[0].argmax(axis=2).reshape(truth.shape)
        right[name] = (answers[name] == truth)[judged].mean()
        print(f"{name:21} {right[name]:6.1%} right   ({sum(history.seconds):.0f} s of training)", flush=True)

    draw(x[trained], truth[0], {name: rows[0] for name, rows in answers.items()}, right, names, path)
    print(f"wrote {path}")
    return right


def draw(x, truth, answers, right, names, path, shown=range(60, 180)):
    """Draw what is heard, the phonemes of 100 ms before with the answers, and how often those are right."""
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    (heard, corner), (strip, bars) = figure.subplots(2, 2, width_ratios=[3, 1], height_ratios=[2, 3])
    corner.axis("off")
    begin, end = shown[0] / 100, (shown[-1] + 1) / 100
    heard.imshow(x[shown].T, cmap="cividis", origin="lower", aspect="auto", extent=(begin, end, 0, len(x[0])))
    heard.set(ylabel="band", yticks=[], title="what is heard now")
    rows = {"spoken 100 ms before": truth} | answers
    for row, values in enumerate(rows.values()):
        wrong = values != truth
        edges = [t for t in shown if t == shown[0] or values[t] != values[t - 1] or wrong[t] != wrong[t - 1]]
        for t, after in zip(edges, [*edges[1:], shown[-1] + 1], strict=True):
            colour = "white" if not row else "#E69F00" if wrong[t] else "0.85"
            box = Rectangle((t / 100, row - 0.42), (after - t) / 100, 0.84, facecolor=colour, edgecolor="0.4")
            strip.add_patch(box)
            if after - t > 2:
                middle = (t + after) / 200
                strip.text(middle, row, names[values[t]], ha="center", va="center", fontsize=9)
    strip.set(xlim=(begin, end), ylim=(len(rows) - 0.5, -0.5), xlabel="time now (s)")
    strip.set_yticks(range(len(rows)), rows)
    strip.set_title("the phoneme of 100 ms before, and what each network says (orange: wrong)")
    bars.barh(range(1, len(rows)), right.values(), color="0.85", edgecolor="0.4")
    for row, share in enumerate(right.values(), 1):
        bars.text(0.04, row, f"{share:.1%}", va="center")
    bars.set(xlim=(0, 1), xticks=[0, 0.5, 1], ylim=strip.get_ylim(), yticks=[], xlabel="right, unseen speech")
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main(*sys.argv[1:2])
