#!/usr/bin/env python3
"""One model, two containers: a GGUF, and the Hugging Face directory that transformers makes of it (weights widened to float32), must
give the same RoPE tables and the same statistics to float rounding.

    python3 tests/golden/hf_vs_gguf.py MODEL.gguf IDS.txt [--program build/ropescope] [--directory KEEP]

The widened weights are the same numbers (a GGUF block is dequantised by both sides), but rows of queries and keys may stand in another
order, so products sum in the same order and tables are what differs when a permutation is wrong. Prints every array's error.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

import h5py
import numpy as np
import torch
import transformers

import reference

# Sums of a head's components run in another order in a permuted file, and a GGUF keeps its base as float32: a few float32 roundings,
# through all layers. Ratios of small differences (costs, shares, correlations) magnify them.
ROUNDING, MAGNIFIED = 2e-5, 2e-4
EXACT = ("rope/rotated", "rope/component_lo", "rope/component_hi", "rope/region", "frequency_norm/q_top_pair", "frequency_norm/k_top_pair")


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument("model", type=pathlib.Path)
    p.add_argument("ids", type=pathlib.Path)
    p.add_argument("--program", type=pathlib.Path, default=pathlib.Path("build/ropescope"))
    p.add_argument("--directory", type=pathlib.Path, help="keep the Hugging Face directory here")
    return p.parse_args()


def convert(gguf, folder):
    model = transformers.AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    config = type(model.config).from_dict({k: v for k, v in model.config.to_dict().items() if k != "quantization_config"})
    twin = type(model)._from_config(config, dtype=torch.float32)  # a model that came from a GGUF refuses to be saved
    twin.load_state_dict(model.state_dict())
    twin.save_pretrained(folder)


def audit(options, model, out):
    subprocess.run([options.program, "audit", model, "--ids", options.ids, "--device", "cpu", "--quiet", "-o", out], check=True)
    return h5py.File(out)


def datasets(file):
    names = []
    file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    return sorted(n for n in names if not file[n].is_scale)


def bar(name):
    if name in EXACT:
        return 0.0
    if name == "rope/theta":
        return 1e-7  # a GGUF keeps the base as float32
    magnified = ("cost", "share", "fit_", "split_half", "concentration", "logit_variance", "distance_curve", "_top")
    return MAGNIFIED if any(word in name for word in magnified) or name.startswith("state/") else ROUNDING


def judge(name, a, b):
    """-> (largest error of a layer, bar, missed)."""
    if a.shape != b.shape:
        return float("inf"), 0.0, True
    same_gaps = (np.isnan(a) == np.isnan(b)).all() if a.dtype.kind == "f" else True
    error = max(reference.error(x, y) for x, y in zip(a, b))
    return error, bar(name), not (same_gaps and error <= bar(name))


def main():
    options = arguments()
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        folder = options.directory or scratch / "model"
        if not (folder / "config.json").exists():
            convert(options.model, folder)
        gguf, hf = audit(options, options.model, scratch / "gguf.h5"), audit(options, folder, scratch / "hf.h5")
        names = datasets(gguf)
        missed = int(names != datasets(hf))
        if missed:
            print("the runs do not hold the same arrays:", sorted(set(names) ^ set(datasets(hf))))
        for name in names:
            error, allowed, bad = judge(name, hf[name][...], gguf[name][...])
            missed += bad
            print(f"{name:48} {error:9.2e}  allowed {allowed:.0e} {'MISSED' if bad else ''}")
    print(f"{len(names)} arrays, {missed} missed")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
