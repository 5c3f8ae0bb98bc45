"""The lab's commands; `data/lab/lab` runs this in the lab's own environment."""

import argparse
from pathlib import Path

import corpus
import train
from decoder import Shape
from positions import ENCODINGS


def main() -> None:
    top = argparse.ArgumentParser(prog="data/lab/lab", description=__doc__.splitlines()[0])
    top.add_argument("--work", type=Path, default=Path("build/lab"), help="where tokens and runs are kept (default: build/lab)")
    commands = top.add_subparsers(dest="command", required=True)

    c = commands.add_parser("prepare", help="check the books, train the tokenizer, encode the splits")
    c.add_argument("--corpus", type=Path, required=True, metavar="DIR", help="folder with the files of corpus.tsv")
    c.add_argument("--manifest", type=Path, default=corpus.MANIFEST)
    c.add_argument("--other-text", action="store_true", help="take books whose SHA-256 is not the manifest's")

    c = commands.add_parser("train", help="train one model, or go on with it")
    c.add_argument("encoding", choices=list(ENCODINGS))
    c.add_argument("--seed", type=int, default=1)
    c.add_argument("--steps", type=int, default=0, help="default: one epoch")
    c.add_argument("--threads", type=int, default=1)
    c.add_argument("--no-compile", action="store_true", help="train without torch.compile (slower; last bits differ)")

    a = top.parse_args()
    if a.command == "prepare":
        corpus.prepare(a.corpus, a.work, a.manifest, a.other_text)
    elif a.command == "train":
        recipe = train.Recipe(steps=a.steps, threads=a.threads, compiled=not a.no_compile)
        train.train(a.work, ENCODINGS[a.encoding], a.seed, recipe, Shape())


if __name__ == "__main__":
    main()
