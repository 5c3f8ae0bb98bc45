"""The books: checked against corpus.tsv, split by book, encoded by one byte-level BPE tokenizer trained on the train split."""

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

END = "<|endoftext|>"
END_ID = 0
VOCABULARY = 2048
SPLITS = ("train", "valid", "test")
MANIFEST = Path(__file__).with_name("corpus.tsv")


def books(folder: Path, manifest: Path, other_text: bool) -> dict[str, list[tuple[str, str]]]:
    """split -> [(file, text)] in the manifest's order. A book whose bytes differ from the manifest stops the run unless
    other_text: books gathered anew are cleaned a little differently, and the models then differ a little too."""
    by_split = {split: [] for split in SPLITS}
    for row in csv.DictReader(manifest.read_text(encoding="utf-8").splitlines(), delimiter="\t"):
        path = folder / row["file"]
        if not path.is_file():
            raise SystemExit(f"{path}: missing ({row['title']}, {row['source']})")
        data = path.read_bytes()
        found = hashlib.sha256(data).hexdigest()
        if found != row["sha256"] and not other_text:
            raise SystemExit(f"{path}: SHA-256 {found}, {manifest.name} says {row['sha256']}; --other-text takes it all the same")
        by_split[row["split"]].append((row["file"], data.decode("utf-8")))
    return by_split


def train_tokenizer(texts: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    # Every sequence begins with END: without a first token of its own a model without positions has nothing to count from.
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{END} $A", special_tokens=[(END, END_ID)])
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def encode(tokenizer: Tokenizer, texts: list[str]) -> np.ndarray:
    """[tokens] uint16: the books one after the other, each ended by END."""
    # A book is encoded whole: cut at a paragraph, the pre-tokenizer would see other runs of white space.
    books = (tokenizer.encode(text, add_special_tokens=False).ids for text in texts)
    return np.concatenate([np.array(ids + [END_ID], dtype=np.uint16) for ids in books])


def side_by_side(ids: np.ndarray, context: int) -> np.ndarray:
    """[windows, context]: END and the next context - 1 tokens, over and over; what is left over at the end is dropped. The windows that
    `ropescope audit` takes."""
    text = context - 1
    windows = ids[: len(ids) // text * text].reshape(-1, text)
    return np.concatenate((np.full((len(windows), 1), END_ID, windows.dtype), windows), axis=1)


def prepare(folder: Path, work: Path, manifest: Path = MANIFEST, other_text: bool = False) -> None:
    """Writes tokenizer.json, {train,valid,test}.u16 and corpus.json (sizes and hashes of all of them) into `work`."""
    by_split = books(folder, manifest, other_text)
    work.mkdir(parents=True, exist_ok=True)
    trained = train_tokenizer([text for _, text in by_split["train"]])
    trained.save(str(work / "tokenizer.json"))
    facts = {"manifest_sha256": hashlib.sha256(manifest.read_bytes()).hexdigest(), "vocabulary": trained.get_vocab_size()}
    facts["tokenizer_sha256"] = hashlib.sha256((work / "tokenizer.json").read_bytes()).hexdigest()
    for split in SPLITS:
        ids = encode(trained, [text for _, text in by_split[split]])
        ids.tofile(work / f"{split}.u16")
        facts[split] = {
            "books": len(by_split[split]),
            "bytes": sum(len(text.encode()) for _, text in by_split[split]),
            "tokens": len(ids),
            "sha256": hashlib.sha256(ids.tobytes()).hexdigest(),
        }
        print(f"{split}: {facts[split]['books']} books, {facts[split]['tokens']:,} tokens")
    (work / "corpus.json").write_text(json.dumps(facts, indent=1) + "\n")


def tokenizer(work: Path) -> Tokenizer:
    return Tokenizer.from_file(str(work / "tokenizer.json"))


def load(work: Path, split: str) -> np.ndarray:
    """[tokens] uint16, read-only."""
    path = work / f"{split}.u16"
    if not path.is_file():
        raise SystemExit(f"{path}: missing; run `data/lab/lab prepare` first")
    return np.memmap(path, dtype=np.uint16, mode="r")
