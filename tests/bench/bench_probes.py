#!/usr/bin/env python3
"""What each probe takes, in one run on one machine: audits with one probe alone, interleaved with our forward pass without hooks.

    python3 tests/bench/bench_probes.py MODEL --text data/samples/text.txt --build build [--context 1024 --sequences 2 --rounds 3] [--write]

Prints, per probe, the median over rounds of its processor time over that of the forward pass of the same round: 1.00 is a probe that
costs nothing. Processor time, so that a neighbour on the machine disturbs less. Writes tests/bench/results/probes-COMMIT.md with --write.
"""

import argparse
import datetime
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]


def child(*command):
    """-> processor seconds, stdout."""
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit code {process.returncode}")
    return usage.ru_utime + usage.ru_stime, out


def probes(program):
    """Names, and which of them are not in the default set."""
    found, deep = [], set()
    for line in child(program, "version")[1].splitlines():
        named = re.match(r"(?:probes  | {8}) {9}(\w+) {1,}\S", line)
        if named and not line.strip().startswith("only with"):
            found.append(named[1])
        elif "only with --probe or --deep" in line:
            deep.add(found[-1])
    return [p for p in found if p != "retrieval"], deep


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
    program = o.build / "ropescope"
    names, deep = probes(program)
    with tempfile.TemporaryDirectory() as folder:
        ids, run = os.path.join(folder, "ids.txt"), os.path.join(folder, "run.h5")
        tokens = re.findall(r"\d+", child(program, "tokenize", o.model, o.text)[1])[: o.context * o.sequences]
        with open(ids, "w", encoding="utf-8") as f:
            f.writelines(" ".join(tokens[i * o.context : (i + 1) * o.context]) + "\n" for i in range(o.sequences))
        audit = [program, "audit", o.model, "--ids", ids, "-o", run, "--force", "-q", "--device", "cpu"]
        sets = {"all default probes": [], **{n: ["--probe", n] for n in names}, "all probes (--deep)": ["--deep"]}
        ratio = {n: [] for n in sets}
        for _ in range(o.rounds):
            base = child(o.build / "bench_forward", o.model, ids)[0]
            for n, more in sets.items():
                ratio[n].append(child(*audit, *more)[0] / base)
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    lines = [f"{o.model.name}, {o.sequences} sequences of {o.context} tokens, processor time over that of the forward pass without hooks, median of "
             f"{o.rounds} rounds (least to most); {datetime.date.today()}, commit {commit}", "", "| probe | times the forward pass | |", "|---|---|---|"]
    for n, r in ratio.items():
        kind = "" if n.startswith("all") else "deep" if n in deep else "default"
        lines.append(f"| {n} | {statistics.median(r):.2f} ({min(r):.2f} to {max(r):.2f}) | {kind} |")
    print("\n".join(lines))
    if o.write:
        (ROOT / "tests" / "bench" / "results" / f"probes-{commit}.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


main()
