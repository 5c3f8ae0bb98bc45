#!/usr/bin/env python3
"""Compares `ropescope tokenize` with Hugging Face on whole texts.

    compare_tokenizers.py [--program build/ropescope] [--model MODEL] [--special] SOURCE TEXT...

SOURCE is a folder with tokenizer.json, a tokenizer.json, or a .gguf. ropescope reads a tokenizer.json only beside a model, so with
one of those --model names any model or vocabulary it can open. Prints "N of M texts equal" and, per text that differs, where.
Without --special, special tokens written out in a text are text on both sides.
"""

import argparse
import os
import subprocess
import sys
import time

sys.path = [p for p in sys.path if os.path.abspath(p or ".") != os.path.dirname(os.path.abspath(__file__))]

from tokenizers import Tokenizer  # noqa: E402
from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence  # noqa: E402

# transformers gives every "gpt2" vocabulary of a GGUF file GPT-2's own pre-tokenizer; these models have another.
PRE_TOKENIZERS = {
    "smollm": Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)]),
    "starcoder": Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)]),
}


def from_gguf(path):
    from gguf import GGUFReader
    from transformers import AutoTokenizer

    folder, name = os.path.split(os.path.abspath(path))
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name).backend_tokenizer
    pre = GGUFReader(path).fields.get("tokenizer.ggml.pre")
    if pre is not None and pre.contents() in PRE_TOKENIZERS:
        tokenizer.pre_tokenizer = PRE_TOKENIZERS[pre.contents()]
    return tokenizer


def oracle(source):
    if source.endswith(".gguf"):
        return from_gguf(source)
    return Tokenizer.from_file(os.path.join(source, "tokenizer.json") if os.path.isdir(source) else source)


def ours(options, texts):
    command = [options.program, "tokenize", options.model or options.source, "--bos", "no"]
    command += ["--tokenizer", options.source] if options.model else []
    command += ["--special"] if options.special else []
    done = subprocess.run(command + texts, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{options.program}: exit {done.returncode}: {done.stderr.strip()}")
    return [[int(i) for i in line.split()] for line in done.stdout.split("\n")[: len(texts)]]


def report(path, got, expected, tokenizer):
    at = next((i for i, (a, b) in enumerate(zip(got, expected)) if a != b), min(len(got), len(expected)))
    around = slice(max(0, at - 3), at + 5)
    print(f"{path}: {len(got)} ids against {len(expected)}, first difference at {at}")
    for name, ids in (("ropescope", got[around]), ("Hugging Face", expected[around])):
        print(f"  {name:12}", [(i, tokenizer.id_to_token(i)) for i in ids])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="build/ropescope")
    parser.add_argument("--model")
    parser.add_argument("--special", action="store_true")
    parser.add_argument("source")
    parser.add_argument("text", nargs="+")
    options = parser.parse_args()

    tokenizer = oracle(options.source)
    tokenizer.encode_special_tokens = not options.special
    start = time.monotonic()
    found = ours(options, options.text)
    took = time.monotonic() - start
    equal = ids = 0
    for path, got in zip(options.text, found):
        with open(path, encoding="utf-8", newline="") as f:
            expected = tokenizer.encode(f.read(), add_special_tokens=False).ids
        equal += got == expected
        ids += len(expected)
        if got != expected:
            report(path, got, expected, tokenizer)
    print(f"{equal} of {len(options.text)} texts equal, {ids:,} ids; ropescope took {took:.2f} s")
    sys.exit(equal != len(options.text))


if __name__ == "__main__":
    main()
