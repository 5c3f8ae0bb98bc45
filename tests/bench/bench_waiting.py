#!/usr/bin/env python3
"""How long threads should spin before they sleep, in one run on one machine: audits under several settings of libgomp, interleaved,
alone and beside a neighbour: a loop that keeps one core busy, or an audit whose threads spin as libgomp's default has it.

    python3 tests/bench/bench_waiting.py MODEL --text data/samples/text.txt --build build [--context 1024 --sequences 2 --rounds 3] [--write]

Prints seconds, median over rounds (least to most). Writes tests/bench/results/waiting-COMMIT.md with --write. The setting that the
program gives itself: rs_program_wait_briefly in analyzer/cli/program.c.
"""

import argparse
import datetime
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
SETTINGS = {  # the first is what libgomp does by itself, said so that the program leaves it
    "300,000 turns (libgomp's default)": {"GOMP_SPINCOUNT": "300000"},
    "10,000 turns": {"GOMP_SPINCOUNT": "10000"},
    "1,000 turns": {"GOMP_SPINCOUNT": "1000"},
    "none (OMP_WAIT_POLICY=passive)": {"OMP_WAIT_POLICY": "passive"},
    "one thread": {"OMP_NUM_THREADS": "1", "GOMP_SPINCOUNT": "300000"},
}


def main():
    p = argparse.ArgumentParser()
    p.add_argument("model", type=pathlib.Path)
    p.add_argument("--text", type=pathlib.Path, default=ROOT / "data" / "samples" / "text.txt")
    p.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    p.add_argument("--context", type=int, default=1024)
    p.add_argument("--sequences", type=int, default=2)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--write", action="store_true")
    o = p.parse_args()
    with tempfile.TemporaryDirectory() as folder:

        def audit(name, setting, repeat=False):
            env = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}
            one = [o.build / "ropescope", "audit", o.model, o.text, "-c", o.context, "-n", o.sequences, "-o", f"{folder}/{name}.h5", "--force", "-q", "--device", "cpu",
                   "--catalog", f"{folder}/{name}.sqlite"]
            command = ["sh", "-c", 'while "$@"; do :; done', "sh"] * repeat + one
            return subprocess.Popen(list(map(str, command)), env={**env, **setting}, start_new_session=True)

        neighbours = {
            "alone": lambda: None,
            "beside a busy loop": lambda: subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True),
            "beside an audit that spins": lambda: audit("neighbour", SETTINGS["300,000 turns (libgomp's default)"], True),
        }
        seconds = {}
        for _ in range(o.rounds):
            for beside, begin in neighbours.items():
                other = begin()
                for name, setting in SETTINGS.items():
                    begun = time.monotonic()
                    if audit("run", setting).wait() != 0:
                        sys.exit("the audit failed")
                    seconds.setdefault((name, beside), []).append(time.monotonic() - begun)
                if other:
                    os.killpg(other.pid, 9)
                    other.wait()

    def cell(s):
        return f"{statistics.median(s):.1f} ({min(s):.1f} to {max(s):.1f})"

    git = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    lines = [f"{o.model.name}, {o.sequences} sequences of {o.context} tokens, {os.cpu_count()} cores: seconds of an audit by how long its threads spin at a barrier; "
             f"median of {o.rounds} rounds (least to most); {datetime.date.today()}, commit {git}", "",
             "| spins for | " + " | ".join(neighbours) + " |", "|---" * (1 + len(neighbours)) + "|"]
    lines += [f"| {name} | " + " | ".join(cell(seconds[name, beside]) for beside in neighbours) + " |" for name in SETTINGS]
    print("\n".join(lines))
    if o.write:
        (ROOT / "tests" / "bench" / "results" / f"waiting-{git}.md").write_text("\n".join(lines) + "\n")


main()
