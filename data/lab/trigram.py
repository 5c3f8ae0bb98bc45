"""A trigram model of the train split: what a model that looks two tokens back comes to on the tokens that the decoders are
scored on.

Interpolated modified Kneser-Ney (Chen and Goodman 1999, section 4.1.4): discounts D1, D2, D3+ per order from the counts of
counts, lower orders from the number of different tokens before, a uniform share at the bottom. Only the standard library and
numpy.
"""

import hashlib
import json
from pathlib import Path

import numpy as np

import corpus

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "data" / "samples" / "text.txt"
KEPT = Path(__file__).with_name("trigram.json")
METHOD = "interpolated modified Kneser-Ney, order 3, on the train split; history within the window only"


def pack(*columns: np.ndarray, vocabulary: int) -> np.ndarray:
    """One int64 per row of token columns; the last column varies fastest."""
    key = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        key = key * vocabulary + column
    return key


def look_up(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """values[keys == wanted], 0 where there is none; keys ascending."""
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, values[at], 0)


def discounts(counts: np.ndarray) -> np.ndarray:
    """[4] what is taken off a count of 0, 1, 2, 3 and more. Without one of n1 .. n4 (a tiny text, or a lowest order in which
    every token is common) the formula is not defined: 0.5 of every count, 0.75 for 2 and more."""
    n = [int((counts == i).sum()) for i in range(5)]
    if 0 in n[1:]:
        return np.array([0, 0.5, 0.75, 0.75])
    share = n[1] / (n[1] + 2 * n[2])
    d = np.array([0] + [i - (i + 1) * share * n[i + 1] / n[i] for i in (1, 2, 3)])
    return np.clip(d, 0, [0, 1, 2, 3])  # never more than there is


class Order:
    """Counts of grams of one length and what interpolation needs of each history."""

    def __init__(self, grams: np.ndarray, counts: np.ndarray, vocabulary: int):
        self.vocabulary, self.grams = vocabulary, grams
        off = discounts(counts)[np.minimum(counts, 3)]
        self.left = counts - off
        history = grams // vocabulary
        starts = np.flatnonzero(np.concatenate(([True], history[1:] != history[:-1])))
        self.histories = history[starts]
        self.total = np.add.reduceat(counts, starts).astype(np.float64)
        self.freed = np.add.reduceat(off, starts)

    def probability(self, history: np.ndarray, token: np.ndarray, lower: np.ndarray) -> np.ndarray:
        """P(token | history) given P(token | one token less); a history never seen passes the lower order on."""
        total = look_up(self.histories, self.total, history)
        seen = total > 0
        total = np.where(seen, total, 1)
        own = look_up(self.grams, self.left, history * self.vocabulary + token) / total
        share = np.where(seen, look_up(self.histories, self.freed, history) / total, 1)
        return own + share * lower


def tails(grams: np.ndarray, modulus: int) -> tuple[np.ndarray, np.ndarray]:
    """Of different grams: their last tokens -> how many different first tokens come before each."""
    return np.unique(grams % modulus, return_counts=True)


class Trigram:
    def __init__(self, ids: np.ndarray, vocabulary: int):
        v = self.vocabulary = vocabulary
        ids = ids.astype(np.int64)
        self.counts = np.bincount(ids, minlength=v)
        three, counts = np.unique(pack(ids[:-2], ids[1:-1], ids[2:], vocabulary=v), return_counts=True)
        two, pairs = np.unique(pack(ids[:-1], ids[1:], vocabulary=v), return_counts=True)
        self.three = Order(three, counts, v)
        self.two = Order(*tails(three, v * v), v)
        self.two_alone = Order(two, pairs, v)  # where there is only one token of history, its counts are the highest order
        self.one = Order(*tails(two, v), v)

    def lowest(self, token: np.ndarray) -> np.ndarray:
        return self.one.probability(np.zeros_like(token), token, np.full(len(token), 1 / self.vocabulary))

    def after_one(self, before: np.ndarray, token: np.ndarray) -> np.ndarray:
        """[n] P(token | before), at the second token of a text"""
        return self.two_alone.probability(before, token, self.lowest(token))

    def after_two(self, first: np.ndarray, second: np.ndarray, token: np.ndarray) -> np.ndarray:
        """[n] P(token | first second)"""
        middle = self.two.probability(second, token, self.lowest(token))
        return self.three.probability(pack(first, second, vocabulary=self.vocabulary), token, middle)

    def alone(self, token: np.ndarray) -> np.ndarray:
        """[n] P(token) without any history: its share of the train tokens, one added to each count."""
        return (self.counts[token] + 1) / (self.counts.sum() + self.vocabulary)

    def losses(self, windows: np.ndarray, order: int = 3) -> np.ndarray:
        """windows [n, context], END first -> [n] mean loss in nats of all tokens of the text, from at most order - 1 tokens of history
        (order 2 or 3). END is no history: where a window begins is chance."""
        w = windows.astype(np.int64)
        parts = [self.alone(w[:, 1])[:, None]]
        if order == 3:
            parts.append(self.after_one(w[:, 1], w[:, 2])[:, None])
            parts.append(self.after_two(w[:, 1:-2].ravel(), w[:, 2:-1].ravel(), w[:, 3:].ravel()).reshape(len(w), -1))
        else:
            parts.append(self.after_one(w[:, 1:-1].ravel(), w[:, 2:].ravel()).reshape(len(w), -1))
        return -np.log(np.concatenate(parts, axis=1)).mean(axis=1)


def scored(model: Trigram, windows: np.ndarray) -> dict:
    return {
        "windows": len(windows),
        "tokens": int(windows.shape[0] * (windows.shape[1] - 1)),
        "loss": round(float(model.losses(windows).mean()), 6),
        "bigram_loss": round(float(model.losses(windows, order=2).mean()), 6),
    }


def baseline(work: Path, context: int = 256, out: Path = KEPT) -> dict:
    """Losses on valid, test and the sample text, with what they are about; kept in `out`."""
    facts = json.loads((work / "corpus.json").read_text())
    model = Trigram(corpus.load(work, "train"), facts["vocabulary"])
    found = {"method": METHOD, "context": context, "corpus": facts}
    for split in ("valid", "test"):
        found[split] = scored(model, corpus.side_by_side(corpus.load(work, split), context))
    text = SAMPLE.read_bytes()
    windows = corpus.side_by_side(np.array(corpus.tokenizer(work).encode(text.decode("utf-8"), add_special_tokens=False).ids), context)
    found["sample"] = {
        "file": str(SAMPLE.relative_to(ROOT)),
        "sha256": hashlib.sha256(text).hexdigest(),
        # as `ropescope audit` records it: the ids of all windows as little-endian int32
        "ids_sha256": hashlib.sha256(windows.astype("<i4").tobytes()).hexdigest(),
        **scored(model, windows),
        "window_losses": [round(float(x), 6) for x in model.losses(windows)],
        "window_bigram_losses": [round(float(x), 6) for x in model.losses(windows, order=2)],
    }
    for name in ("valid", "test", "sample"):
        print(f"trigram: {name} {found[name]['loss']:.4f} nats over {found[name]['tokens']:,} tokens (bigram: {found[name]['bigram_loss']:.4f})")
    out.write_text(json.dumps(found, indent=1) + "\n")
    return found


def known(facts: dict) -> dict | None:
    """The kept figures, if they are about this corpus."""
    found = json.loads(KEPT.read_text()) if KEPT.is_file() else None
    return found if found and found["corpus"] == facts else None
