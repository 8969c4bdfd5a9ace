"""Translates the help of LibreOffice from English into Spanish, with attention or without.

python docs/results/translation.py libreoffice-help-en-us_*.deb libreoffice-help-es_*.deb --minutes 30

The two files are packages of Debian (`apt-get download libreoffice-help-en-us libreoffice-help-es`), whose
texts are under the licence MPL-2.0. A paragraph has the same identifier in both languages. Those with equally
many sentences give a pair for each sentence, and pairs of 3 to 20 words are kept. Whole pages are held out: a
twentieth to choose the best epoch by, and a twentieth for the test, without sentences of the training.
Words that are not among the 6000 most frequent are copied from the sentence where attention says which;
without attention they are left out.

A run writes the pairs (.tsv), its model (.npz) and its results (.json) into a folder, and there the page
translation.md of all runs so far. The run without attention has --attention none.
"""

import io
import json
import re
import tarfile
import time
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import typer
from sacrebleu import corpus_bleu

import fastrec

PAGE = re.compile(r"\./usr/share/libreoffice/help/[^/]+/(text/.*\.html)")
PARAGRAPH = re.compile(r"(par|hd)_id")
BLOCKS = {"p", "h1", "h2", "h3", "h4", "h5", "h6"}
BETWEEN_SENTENCES = re.compile(r"(?<=[.!?:;])\s+(?=[\"'(¿¡]*[A-ZÁÉÍÓÚÑ0-9])")


class Paragraphs(HTMLParser):
    """Collects the text of the paragraphs of a page by their identifiers, as shown on Linux."""

    def __init__(self):
        super().__init__()
        self.texts, self.name, self.parts, self.hidden = {}, None, [], []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag in BLOCKS:
            self.end()
            if PARAGRAPH.match(values.get("id") or ""):
                self.name = values["id"]
        elif tag == "span":
            self.hidden.append("hidden" in values and not values.get("id", "").startswith("default"))
        elif tag == "br":
            self.parts.append(" ")

    def handle_endtag(self, tag):
        if tag in BLOCKS:
            self.end()
        elif tag == "span" and self.hidden:
            self.hidden.pop()

    def handle_data(self, data):
        if self.name and not any(self.hidden):
            self.parts.append(data)

    def end(self):
        text = " ".join("".join(self.parts).split())
        if self.name and text:
            self.texts.setdefault(self.name, text)
        self.name, self.parts, self.hidden = None, [], []


def package_files(path):
    """The tar archive of files in a Debian package, which is an `ar` archive of three members."""
    with open(path, "rb") as file:
        if file.read(8) != b"!<arch>\n":
            raise ValueError(f"{path} is no Debian package; give a .deb file")
        while len(head := file.read(60)) == 60:
            content = file.read(int(head[48:58]))
            if head.startswith(b"data.tar"):
                return tarfile.open(fileobj=io.BytesIO(content))
            file.read(len(content) % 2)
    raise ValueError(f"{path} holds no data.tar; it may be cut, so fetch it again")


def read_pages(path):
    """The paragraphs of each help page in a package, by name and by identifier."""
    pages = {}
    with package_files(path) as files:
        for member in files:
            if member.isfile() and (name := PAGE.fullmatch(member.name)):
                page = Paragraphs()
                page.feed(files.extractfile(member).read().decode("utf-8"))
                page.end()
                pages[name[1]] = page.texts
    if not pages:
        raise ValueError(f"{path} holds no help pages; give the packages libreoffice-help-en-us and -es")
    return pages


def sentence_pairs(english, spanish):
    """Pairs of sentences in two versions of a page."""
    for name in english.keys() & spanish.keys():
        sides = [BETWEEN_SENTENCES.split(page[name]) for page in (english, spanish)]
        if len(sides[0]) == len(sides[1]):
            for pair in zip(*sides, strict=True):
                if pair[0] != pair[1] and all(3 <= len(sentence.split()) <= 20 for sentence in pair):
                    yield pair


def split_by_page(english, spanish, share=20):
    """The pairs for training, validation and test: all different, no two parts from one page."""
    names = sorted(english.keys() & spanish.keys())
    np.random.default_rng(0).shuffle(names)
    part = max(1, len(names) // share)
    parts = {"train": names[2 * part :], "validation": names[:part], "test": names[part : 2 * part]}
    pairs = {
        key: sorted({pair for name in some for pair in sentence_pairs(english[name], spanish[name])})
        for key, some in parts.items()
    }
    seen = {sentence for sentence, _ in pairs["train"]}
    for key in ("validation", "test"):
        pairs[key] = [pair for pair in pairs[key] if pair[0] not in seen]
    return pairs


def main(
    english: Path,
    spanish: Path,
    attention: str = "general",
    minutes: float = 30,
    out: Path = Path("translation"),
    hidden: int = 256,
    embedding: int = 256,
    vocabulary: int = 6000,
    batch: int = 64,
    learning_rate: float = 2e-3,
    dropout: float = 0.3,
    seed: int = 1,
):
    pairs = split_by_page(read_pages(english), read_pages(spanish))
    print(", ".join(f"{len(some)} pairs for {key}" for key, some in pairs.items()))
    out.mkdir(parents=True, exist_ok=True)
    for key, some in pairs.items():
        lines = "".join(f"{sentence}\t{translation}\n" for sentence, translation in some)
        (out / f"{key}.tsv").write_text(lines, encoding="utf-8")

    translator = fastrec.Translator(
        hidden,
        embedding_size=embedding,
        attention=None if attention == "none" else attention,
        vocabulary_size=vocabulary,
        seed=seed,
    )
    history = translator.fit(
        pairs["train"],
        pairs["validation"],
        minutes=minutes,
        batch_size=batch,
        learning_rate=learning_rate,
        dropout=dropout,
        callback=lambda _, history: print(
            f"epoch {len(history.train):3}, {sum(history.seconds):6.0f} s: "
            f"{history.train[-1]:.3f} nats per word, {history.validation[-1]:.3f} of validation",
            flush=True,
        ),
    )
    translator.save(out / f"{attention}.npz")

    sentences, references = zip(*pairs["test"], strict=True)
    begin = time.monotonic()
    scores, translations = {}, {}
    for width in (1, 5):
        translations[width] = translator.translate(sentences, width)
        scores[width] = corpus_bleu(translations[width], [references]).score
    shown = np.random.default_rng(1).permutation(len(sentences))[:20].tolist()
    result = {
        "attention": attention,
        "minutes": minutes,
        "seconds": sum(history.seconds),
        "epochs": len(history.train),
        "best epoch": int(history.best_epoch),
        "parameters": translator.model.n_parameters,
        "words": [len(translator.source), len(translator.target)],
        "hidden": hidden,
        "embedding": embedding,
        "batch": batch,
        "learning rate": learning_rate,
        "dropout": dropout,
        "pairs": {key: len(some) for key, some in pairs.items()},
        "train": history.train.tolist(),
        "validation": history.validation.tolist(),
        "BLEU": scores,
        "seconds of translation": time.monotonic() - begin,
        "examples": [[sentences[j], references[j], translations[5][j]] for j in shown],
    }
    (out / f"{attention}.json").write_text(json.dumps(result, indent=1, ensure_ascii=False), encoding="utf-8")
    if attention != "none":
        plain = [sentence for sentence in sentences if re.fullmatch(r"[A-Z][a-z ]+\.?", sentence)]
        drawn = min(plain or sentences, key=lambda sentence: abs(len(sentence.split()) - 11))
        figure = fastrec.plot.attention(*translator.attention(drawn)).figure
        figure.savefig(out / "translation.png", dpi=150)
    write_page(out)
    print(f"BLEU of {len(sentences)} sentences: {scores[5]:.1f}, greedy {scores[1]:.1f}; written to {out}")
    return result


def write_page(out):
    """Write translation.md, from the results of all runs in a folder."""
    runs = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(out.glob("*.json"))}
    first = next(iter(runs.values()))
    _, command, text, _ = __doc__.split("\n\n")
    lines = [
        *("# Translation of the help of LibreOffice", ""),
        *("```sh", command, "```", "", text, ""),
        ", ".join(f"{count} pairs for {part}" for part, count in first["pairs"].items()) + ".",
        "",
        "| attention | minutes | epochs | parameters | validation (nats) | BLEU, greedy | BLEU, 5 beams |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, run in runs.items():
        numbers = (f"{run['seconds'] / 60:.1f}", run["epochs"], run["parameters"])
        scores = (f"{min(run['validation']):.3f}", *(f"{run['BLEU'][width]:.1f}" for width in ("1", "5")))
        lines.append(f"| {' | '.join(map(str, (name, *numbers, *scores)))} |")
    if (out / "translation.png").exists():
        lines += ["", "![Which English words each Spanish word attends to, of one sentence](translation.png)"]
    for number, (source, reference, _) in enumerate(first["examples"]):
        lines += ["", f"{number + 1}. {source}", f"   - reference: {reference}"]
        lines += [f"   - {name}: {run['examples'][number][2]}" for name, run in runs.items()]
    (out / "translation.md").write_text("\n".join([*lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
