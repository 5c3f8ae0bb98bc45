#!/usr/bin/env python3
"""Trained models against what transformers computed from the same files (tests/golden/real, written by tests/golden/real_models.py).

The models of data/samples/models are always checked; those of data/fetch where they are in its cache, or under CI, which fetches them.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(os.environ.get("RS_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(ROOT / "tests" / "support"))
sys.dont_write_bytecode = True
PROGRAM = os.environ.get("RS_PROGRAM", str(ROOT / "build" / "ropescope"))
GOLDEN = ROOT / "tests" / "golden" / "real"
SHIPPED = ROOT / "data" / "samples" / "models"
FETCHED = {"smollm2-135m": "SmolLM2-135M-Instruct.Q4_1.gguf", "gemma3-270m": "gemma-3-270m-q4_k_m.gguf"}

# docs/accuracy.md: logits 5e-5 of the largest; statistics 1e-4. The loss of a token is a difference of logits of about that size.
LOGITS, TOKEN_NLL, MEAN_NLL, STATISTICS = 5e-5, 5e-5, 1e-5, 1e-4
THETA = 1e-7  # a GGUF keeps the base of the frequencies as float32


def cached(file):
    default = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "ropescope"
    return (pathlib.Path(os.environ.get("ROPESCOPE_CACHE", default)) / file).exists()


def expected(np, name):
    blob = (GOLDEN / f"{name}.bin").read_bytes()
    out = {}
    for line in (GOLDEN / f"{name}.tsv").read_text().splitlines():
        key, dtype, sizes, offset = line.split("\t")
        shape = [int(n) for n in sizes.split(",")]
        out[key] = np.frombuffer(blob, dtype="<f4" if dtype == "f32" else "<f8", count=int(np.prod(shape)), offset=int(offset)).reshape(shape).astype(np.float64)
    return out


def error(np, a, b):
    """max|a - b| / max|b|; a value where the other has none is an infinite error."""
    if a.shape != b.shape or (np.isnan(a) != np.isnan(b)).any():
        return float("inf")
    keep = ~np.isnan(b)
    worst, scale = np.abs(a[keep] - b[keep]).max(), np.abs(b[keep]).max()
    return float(worst / scale if scale > 0 else worst)  # the frequencies of NoPE are all zero


def by_layer(np, a, b):
    return max(error(np, x, y) for x, y in zip(a, b)) if len(a) == len(b) else float("inf")


def run(verb, model, ids, out, *more):
    subprocess.run([PROGRAM, verb, model, "--ids", str(ids), "--device", "cpu", "--quiet", "-o", str(out), *more], check=True)


def check(np, h5py, name, model, folder):
    want = expected(np, name)
    ids = GOLDEN / f"{name}.ids.txt"
    rows, stride = want["logit_rows"].astype(int), int(want["logit_stride"][0])
    head = folder / "head.txt"  # logits of a token depend on the tokens before it alone: the first ones are enough
    head.write_text(" ".join(ids.read_text().split()[: rows.max() + 1]) + "\n")
    run("audit", model, ids, folder / "run.h5", "--probe", "frequency_norm", "--probe", "attention_pattern")
    run("dump", model, head, folder / "acts.h5", "--site", "logits")
    with h5py.File(folder / "run.h5") as f, h5py.File(folder / "acts.h5") as acts:
        logits = acts["logits"][0][rows][:, ::stride]
        yield "logits", float(np.abs(logits - want["logits"]).max() / want["logit_scale"][0]), LOGITS
        yield "loss/token_nll", error(np, f["loss/token_nll"][0], want["token_nll"]), TOKEN_NLL
        yield "mean_nll", abs(float(f.attrs["mean_nll"]) - want["mean_nll"][0]), MEAN_NLL
        for key in [k for k in want if "/" in k]:
            exact = key in ("rope/component_lo", "rope/component_hi")
            yield key, by_layer(np, f[key][...].astype(np.float64), want[key]), 0 if exact else THETA if key == "rope/theta" else STATISTICS


def path_of(name):
    if name not in FETCHED:
        return str(SHIPPED / name)
    return subprocess.run([str(ROOT / "data" / "fetch"), name], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def main():
    wanted = sorted(folder.name for folder in SHIPPED.glob("*/"))
    wanted += [name for name, file in FETCHED.items() if cached(file) or os.environ.get("CI")]
    unknown = [name for name in wanted if not (GOLDEN / f"{name}.tsv").exists()]
    if unknown:
        print("no expected values in", GOLDEN, "for", *unknown, "(tests/golden/real_models.py shipped --write)")
        return 1
    if not wanted:
        print("no trained model here: data/fetch", *FETCHED)
        return 77
    import venv_test

    venv_test.enter()  # once more from the top, under a Python that has h5py
    import h5py
    import numpy as np

    missed = 0
    for name in wanted:
        model = path_of(name)
        with tempfile.TemporaryDirectory() as folder:
            for key, found, bar in check(np, h5py, name, model, pathlib.Path(folder)):
                bad = not found <= bar
                missed += bad
                print(f"{name:18} {key:34} {found:9.2e}  bar {bar:.0e} {'MISSED' if bad else ''}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
