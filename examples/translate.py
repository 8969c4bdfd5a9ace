"""From sentences to sentences: translate numbers from English into Spanish.

A translator reads "seven hundred and one thousand and ninety" and writes "setecientos un mil noventa". It is
trained on 10 000 of the million numbers below 1 000 000 and tested on others, which it has never seen; a
translation counts as right only if every word is. The picture shows which English words each Spanish word
attends to, which nobody told it: "seven" is enough for "setecientos", and nothing looks at "hundred".
"""

import numpy as np

import fastrec

SHOWN = 701_516


def main(trained=10_000, tested=2000, epochs=6, hidden_size=96, path="translate.png"):
    numbers = np.random.default_rng(0).permutation(1_000_000)
    numbers = numbers[numbers != SHOWN][: trained + tested].tolist()
    pairs = [(fastrec.number_words(n), fastrec.number_words(n, "es")) for n in numbers]
    seen, unseen = pairs[:trained], pairs[trained:]

    translator = fastrec.Translator(hidden_size, embedding_size=32, seed=1)
    translator.fit(
        seen,
        epochs=epochs,
        batch_size=32,
        learning_rate=0.005,
        dropout=0,
        callback=lambda _, history: print(
            f"epoch {len(history.train)}: {history.train[-1]:.4f} nats per word"
        ),
    )

    translations = translator.translate([english for english, _ in unseen])
    right = [found == spanish for found, (_, spanish) in zip(translations, unseen, strict=True)]
    print(f"{sum(right)} of {tested} unseen numbers translated without an error")
    results = sorted(zip(right, unseen, translations, strict=True))  # the wrong ones first
    for ok, (english, spanish), found in results[:5]:
        print(f"    {english}: {found}{'' if ok else f'   WRONG: {spanish}'}")

    alignment = translator.attention(fastrec.number_words(SHOWN))
    ax = fastrec.plot.attention(*alignment)
    ax.figure.savefig(path, dpi=150)
    print(f"wrote {path}")
    return np.mean(right)


if __name__ == "__main__":
    main()
