#!/usr/bin/env python3
"""Trained models: what ropescope computes from a GGUF or a Hugging Face directory against what transformers computes from it.

    python3 tests/golden/real_models.py smollm2-135m MODEL.gguf --program build/ropescope [--text FILE --tokens N] [--write]
    python3 tests/golden/real_models.py shipped [--write]      (all of data/samples/models)

Compares, over every layer: logits, loss, queries and keys before and behind the rotation, patterns (from `dump`), pair norms and
pattern scores (from `audit`), each with transformers in float32 (eager attention) and with the same code run in float64.
Prints a table of every error; exit code 1 when a bar of docs/accuracy.md is missed. --write keeps small expected values from the float64 run under
real/, which tests/cli/real_models.test.py checks without torch.
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

HERE = pathlib.Path(__file__).resolve().parent
SAMPLES = HERE.parent.parent / "data" / "samples"
TEXT = SAMPLES / "text.txt"
LENGTH = {"smollm2-135m": 512, "gemma3-270m": 640}  # Gemma's windows are 512 wide: some keys must be out of sight
LOGIT_ROWS = [0, 1, 31, 63]  # what is kept of the logits; they can be had from the first 64 tokens alone
LOGIT_COLUMNS = 200  # at least, evenly spread, of each
BARS = {"logits": 5e-5, "mean_nll": 1e-5}
STATISTIC_BAR, ACTIVATION_BAR = 1e-4, None  # activations are shown, not judged: there is no bar for them
SITES = {"q": "hook_q_rope", "k": "hook_k_rope", "rot_q": "hook_rot_q", "rot_k": "hook_rot_k", "v": "hook_v", "pattern": "hook_pattern"}


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument("name", choices=[*LENGTH, "shipped"])
    p.add_argument("model", type=pathlib.Path, nargs="?", help="not with shipped")
    p.add_argument("--program", type=pathlib.Path, default=HERE.parent.parent / "build" / "ropescope")
    p.add_argument("--text", type=pathlib.Path, default=TEXT)
    p.add_argument("--tokens", type=int, help="length of the one sequence")
    p.add_argument("--write", action="store_true", help="keep expected values under real/")
    p.add_argument("--no-compare", action="store_true", help="with --write: run transformers alone")
    options = p.parse_args()
    if (options.model is None) != (options.name == "shipped"):
        p.error("a model is given for every name but shipped")
    return options


def source(model):
    """Where transformers loads it from."""
    return {"pretrained_model_name_or_path": model} if model.is_dir() else {"pretrained_model_name_or_path": model.parent, "gguf_file": model.name}


def token_ids(model, text, count):
    tokenizer = transformers.AutoTokenizer.from_pretrained(**source(model))
    ids = tokenizer(text.read_text(encoding="utf-8"), verbose=False)["input_ids"]  # it warns of texts longer than the context
    if tokenizer.bos_token_id is not None and "gemma" in model.name.lower() and ids[0] != tokenizer.bos_token_id:
        ids = [tokenizer.bos_token_id] + ids
    if len(ids) < count:
        sys.exit(f"{text}: {len(ids)} tokens, {count} wanted")
    return np.array([ids[:count]])


def ours(options, model, ids, folder):
    """-> dump file, run file, opened."""
    (folder / "ids.txt").write_text("".join(" ".join(map(str, row)) + "\n" for row in ids))
    common = [options.program, "-placeholder-", model, "--ids", folder / "ids.txt", "--device", "cpu", "--quiet"]
    sites = [x for site in SITES.values() for x in ("--site", f"blocks.*.attn.{site}")] + ["--site", "logits"]
    for verb, more in (("dump", sites + ["-o", folder / "acts.h5"]), ("audit", ["-o", folder / "run.h5", "--probe", "frequency_norm", "--probe", "attention_pattern"])):
        common[1] = verb
        subprocess.run(list(map(str, common + more)), check=True)
    return h5py.File(folder / "acts.h5"), h5py.File(folder / "run.h5")


def activation(acts, layer, name):
    """[B, heads, T, Dh] or [B, H, T, T], as transformers has them."""
    x = acts[f"blocks.{layer}.attn.{SITES[name]}"][...]
    return x if name == "pattern" else x.transpose(0, 2, 1, 3)


def logits_error(acts, logits):
    """max|a - b| / max|b|, some rows at a time: a vocabulary is large."""
    worst = scale = 0.0
    for first in range(0, logits.shape[1], 64):
        a, b = acts["logits"][:, first : first + 64].astype(np.float64), logits[:, first : first + 64].astype(np.float64)
        worst, scale = max(worst, np.abs(a - b).max()), max(scale, np.abs(b).max())
    return worst / scale


def by_layer(name, values, wanted):
    """Worst layer: (error, layer). values, wanted: [L, ...]; ours is padded with NaN where a layer has fewer."""
    errors = [reference.error(a, b) for a, b in zip(values, wanted)]
    return max(errors), int(np.argmax(errors))


def compare(acts, run, logits, layers, statistics, token_nll):
    rows = [("logits", logits_error(acts, logits), "", BARS["logits"])]
    found = run["loss/token_nll"][...]
    rows.append(("token_nll", reference.error(found, token_nll), "", BARS["logits"]))
    rows.append(("mean_nll", abs(float(run.attrs["mean_nll"]) - np.nanmean(token_nll)), "absolute", BARS["mean_nll"]))
    for name in SITES:
        errors = [reference.error(activation(acts, i, name), layer[name]) for i, layer in enumerate(layers)]
        rows.append((SITES[name], max(errors), f"layer {int(np.argmax(errors))}", ACTIVATION_BAR))
    for name, wanted in statistics.items():
        worst, layer = by_layer(name, run[name][...], wanted)
        rows.append((name, worst, f"layer {layer}", 1e-6 if name.startswith("rope/") else STATISTIC_BAR))
    return rows


def show(title, rows):
    print(f"\n{title}")
    missed = 0
    for name, value, where, bar in rows:
        bad = bar is not None and not value < bar
        missed += bad
        print(f"  {name:34} {value:9.2e}  {where:10} {'' if bar is None else f'bar {bar:.0e}':10} {'MISSED' if bad else ''}")
    return missed


def keep(name, ids, logits, statistics, token_nll):
    folder = HERE / "real"
    folder.mkdir(exist_ok=True)
    stride = logits.shape[-1] // LOGIT_COLUMNS
    stride -= stride % 2 == 0  # odd: an even one would meet the same columns of every block of a matrix
    arrays = {"mean_nll": np.array([np.nanmean(token_nll)]), "token_nll": token_nll[0], "logit_rows": np.array(LOGIT_ROWS, dtype=np.float64),
              "logit_stride": np.array([stride], dtype=np.float64), "logit_scale": np.array([np.abs(logits[:, :64]).max()]),
              "logits": logits[0, LOGIT_ROWS, ::stride].astype(np.float32)}
    arrays |= {name: value if name.startswith("rope/") else value.astype(np.float32) for name, value in statistics.items()}
    reference.write_arrays(folder / name, arrays)
    (folder / f"{name}.ids.txt").write_text(" ".join(map(str, ids[0])) + "\n")


def in_float64(model, ids):
    with reference.float64_everywhere():
        model = reference.in_float64(model)
        logits, layers = reference.run(model, ids)
        return logits, layers, reference.statistics(model, layers), reference.nll(logits, ids)


def compare_all(options, model, ids, single, double, folder):
    title = f"{model.name}, {ids.shape[1]} tokens: ropescope against transformers {transformers.__version__} in float32"
    acts, run = ours(options, model, ids, folder)
    missed = show(title, compare(acts, run, *single))
    missed += show("ropescope against the same code in float64", compare(acts, run, *double))
    print(f"\ntransformers in float32 against itself in float64: logits {reference.error(single[0], double[0]):.2e}, "
          f"mean loss {abs(np.nanmean(single[3]) - np.nanmean(double[3])):.2e}")
    return missed


def one(options, name, path, tokens):
    """-> bars missed."""
    model = transformers.AutoModelForCausalLM.from_pretrained(**source(path), dtype=torch.float32, attn_implementation="eager").eval()
    ids = token_ids(path, options.text, tokens or model.config.max_position_embeddings)
    logits, layers = reference.run(model, ids)
    single = logits, layers, reference.statistics(model, layers), reference.nll(logits, ids)
    double = in_float64(model, ids)
    if options.write:
        keep(name, ids, double[0], *double[2:])
    if options.no_compare:
        return 0
    with tempfile.TemporaryDirectory() as folder:
        return compare_all(options, path, ids, single, double, pathlib.Path(folder))


def main():
    options = arguments()
    transformers.utils.logging.disable_progress_bar()
    if options.name == "shipped":
        missed = sum(one(options, path.name, path, options.tokens) for path in sorted((SAMPLES / "models").iterdir()))
    else:
        missed = one(options, options.name, options.model, options.tokens or LENGTH[options.name])
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
