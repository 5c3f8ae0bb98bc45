"""The stability probe against rope-profiler 0.1.0 (the package of arXiv 2609.39929) on the same queries, keys, pairs and triplets.

Runs under $ROPESCOPE_PROFILER_PYTHON, else python3; skipped where that lacks rope-profiler, torch, h5py or numpy."""
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile

PYTHON = os.environ.get("ROPESCOPE_PROFILER_PYTHON", "python3")
NEEDED = ("rope_profiler", "torch", "h5py", "numpy")


def enter():
    """Once more from the top under that Python; exit code 77 where it lacks a package."""
    if os.environ.get("RS_PROFILER_TEST") is None:
        found = shutil.which(PYTHON)
        if found is None:
            print(f"skipped: {PYTHON} is not here; ROPESCOPE_PROFILER_PYTHON names a Python that has {', '.join(NEEDED)}")
            sys.exit(77)
        os.execve(found, [found] + sys.argv, dict(os.environ, RS_PROFILER_TEST="1"))
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        print(f"skipped: {PYTHON} has no {', '.join(missing)}; ROPESCOPE_PROFILER_PYTHON names a Python that does")
        sys.exit(77)


enter()
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.environ["RS_SOURCE_DIR"], "tests", "support"))

import h5py  # noqa: E402
import numpy as np  # noqa: E402
import sampled_draws as draws  # noqa: E402
import torch  # noqa: E402
from rope_profiler.scores import score_activations  # noqa: E402

SOURCE, PROGRAM = os.environ["RS_SOURCE_DIR"], os.environ["RS_PROGRAM"]
SAMPLES = os.path.join(SOURCE, "data", "samples")
CONTEXT, SEQUENCES, SEED = 160, 2, 11
FOLDS = 16


def run(*arguments):
    done = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{arguments}: {done.returncode}: {done.stderr}"


def measure(model, folder):
    common = [os.path.join(SAMPLES, "models", model), os.path.join(SAMPLES, "text.txt"), "--context", str(CONTEXT), "--sequences",
              str(SEQUENCES), "--quiet", "--force", "--device", "cpu"]
    out, acts = os.path.join(folder, "run.h5"), os.path.join(folder, "acts.h5")
    run("audit", *common, "--seed", str(SEED), "-o", out, "--probe", "stability")
    run("dump", *common, "-o", acts, "--site", "blocks.*.hook_q_rope", "--site", "blocks.*.hook_k_rope")
    return out, acts


def cells(tokens):
    pairs, triplets = [], []
    for m in draws.rows(SEED, tokens):
        positions = [m - d for d in draws.cell_distances(SEED, tokens, m, m)]
        pairs += [(m, n) for n in positions]
        triplets += [(m, a, b) for a, b in zip(positions[::2], positions[1::2])]
    return pairs, triplets


def rotary_first(x, rope, layer):
    """[tokens, heads, width] -> [heads, tokens, width]: rotated components first, lower ones before upper ones; and how many rotate."""
    lo, hi, rotated = (rope[name][layer].astype(int) for name in ("component_lo", "component_hi", "rotated"))
    turning = rotated == 1
    order = np.concatenate([lo[turning], hi[turning], lo[~turning], hi[~turning]])
    return torch.tensor(x[..., order].astype(np.float64)).permute(1, 0, 2), 2 * int(turning.sum())


def check_layer(model, found, acts, layer):
    rope, sums, folds = found["rope"], {}, found["state/stability/head"][layer]
    for s in range(SEQUENCES):
        pairs, triplets = cells(acts["tokens"][s])
        q, rotary = rotary_first(acts[f"blocks.{layer}.attn.hook_q_rope"][s], rope, layer)
        k, _ = rotary_first(acts[f"blocks.{layer}.attn.hook_k_rope"][s], rope, layer)
        group = q.shape[0] // k.shape[0]
        theirs = score_activations(q, k, [h // group for h in range(q.shape[0])], pairs, triplets,
                                   rope["theta"][layer][: rotary // 2].tolist(), CONTEXT, rotary_dim=rotary, distance_samples=None)
        ours = folds[s % FOLDS]  # the raw sums of this sequence, float64
        reversal, triplet_count, change, pair_count = ours[:, 0], ours[:, 2], ours[:, 4], ours[:, 6]
        assert (theirs.semantic_valid_triplets_by_head.numpy() == triplet_count).all()
        assert (theirs.positional_valid_pairs_by_head.numpy() == pair_count).all()
        assert int(theirs.semantic_ties) == ours[:, 3].sum()
        for name, a, b in (("semantic stability", 1 - reversal / triplet_count, theirs.semantic_by_head.numpy()),
                           ("positional sensitivity", change / pair_count, theirs.positional_by_head.numpy())):
            error = np.abs(a - b).max()
            assert error < 1e-6, f"{model} layer {layer} {name}: {error}"
            sums[name] = max(sums.get(name, 0), error)
    return sums


for name in ("full-rope", "partial-rope-0.25", "p-rope-0.75"):
    with tempfile.TemporaryDirectory() as folder:
        out, acts = measure(name, folder)
        with h5py.File(out) as found, h5py.File(acts) as a:
            assert (found["stability/window"][()] == CONTEXT).all()
            for layer in range(int(found.attrs["layers"])):
                print(name, layer, check_layer(name, found, a, layer))
