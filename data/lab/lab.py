"""The lab's commands; `data/lab/lab` runs this in the lab's own environment."""

import argparse
from pathlib import Path

import corpus
import evaluate
import export
import statistics_file
import toy
import train
import trigram
from decoder import Shape
from positions import ENCODINGS
from trigram import ROOT


def arguments() -> argparse.Namespace:
    top = argparse.ArgumentParser(prog="data/lab/lab", description=__doc__.splitlines()[0])
    top.add_argument("--work", type=Path, default=ROOT / "build" / "lab", help="where tokens and runs are kept (default: build/lab)")
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

    commands.add_parser("trigram", help="what a trigram model comes to on the same tokens; writes trigram.json")

    run = argparse.ArgumentParser(add_help=False)
    run.add_argument("run", type=Path, metavar="RUN_FOLDER", help="what train made, as build/lab/full-seed1")
    commands.add_parser("evaluate", parents=[run], help="mean loss on all of valid and test")
    out = argparse.ArgumentParser(add_help=False)
    out.add_argument("--force", action="store_true", help="replace what is there")
    c = commands.add_parser("export", parents=[run, out], help="write a Hugging Face directory")
    c.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    c.add_argument("--commit", help="commit of the code that the model was trained with (default: the last one that touched data/lab)")
    c = commands.add_parser("statistics", parents=[run, out], help="audit the model on the sample text; keeps the run file, not the weights")
    c.add_argument("-o", "--output", type=Path, required=True, metavar="RUN.h5")
    c.add_argument("--program", type=Path, default=statistics_file.PROGRAM, help="default: build/ropescope")
    c = commands.add_parser("toy", help="one head learns tuples by heart, with and without RoPE: which dimensions does it use?")
    c.add_argument("-o", "--output", type=Path, metavar="DIR", help="where toy.csv and toy.svg go (default: the work folder)")
    c.add_argument("--seed", type=int, default=1)
    c.add_argument("--steps", type=int, default=toy.Toy.steps)
    return top.parse_args()


def main() -> None:
    a = arguments()
    if a.command == "prepare":
        corpus.prepare(a.corpus, a.work, a.manifest, a.other_text)
    elif a.command == "train":
        recipe = train.Recipe(steps=a.steps, threads=a.threads, compiled=not a.no_compile)
        train.train(a.work, ENCODINGS[a.encoding], a.seed, recipe, Shape())
    elif a.command == "trigram":
        trigram.baseline(a.work)
    elif a.command == "evaluate":
        evaluate.evaluate(a.run)
    elif a.command == "export":
        export.export(a.run, a.output, a.commit, a.force)
    elif a.command == "statistics":
        statistics_file.write(a.run, a.output, a.program, a.force)
    elif a.command == "toy":
        toy.write(a.output or a.work, toy.Toy(steps=a.steps), a.seed)


if __name__ == "__main__":
    main()
