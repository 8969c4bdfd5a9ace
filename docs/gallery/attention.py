"""Where a network looks in a date while it writes it anew.

The encoder reads a date as people write it, "30 Nov 2026", in both directions; the decoder writes it as
"2026-11-30", and attends to the characters of the source at each step (general scores). Darker squares are
larger weights; each row adds up to 1. The year comes from the end, the month from the letters that tell it
from others, and the day from the beginning. A dot stands for the end of the target.
"""

from datetime import date, timedelta

import fastrec
import fastrec.plot


def main(hidden_size=64, epochs=15, pairs=4000, path="attention.svg"):
    days = [date(1900, 1, 1) + timedelta(days=j * 7919 % 73000) for j in range(pairs)]
    read = [f"{day.day} {day:%b} {day.year}" for day in days]
    written = [day.isoformat() for day in days]
    alphabets = [fastrec.Vocabulary.of("".join(texts)) for texts in (read, written)]
    (x, lengths), (y, _) = (
        fastrec.pad_sequences([letters.encode(text) for text in texts])
        for letters, texts in zip(alphabets, (read, written), strict=True)
    )
    sizes = [len(letters) for letters in alphabets]
    model = fastrec.EncoderDecoder(*sizes, hidden_size, attention="general", bidirectional=True, seed=1)
    held_out = (x[:200], y[:200], lengths[:200])
    history = model.fit(
        *(x[200:], y[200:], held_out, fastrec.Adam(0.01, clip=1.0)),
        **{"epochs": epochs, "batch_size": 64, "lengths": lengths[200:], "seed": 0},
    )

    day = date(2026, 11, 30)
    source, target = f"{day.day} {day:%b} {day.year}", day.isoformat()
    symbols = [[letters.encode(text)] for letters, text in zip(alphabets, (source, target), strict=True)]
    weights = model.attention(*symbols)[0]
    figure = fastrec.plot.attention(weights, source, [*target, "·"]).figure
    fastrec.plot.save_figure(figure, path)
    print(f"held out: {history.validation[-1]:.2g} nats a character; wrote {path}")
    return history.validation[-1], weights


if __name__ == "__main__":
    main()
