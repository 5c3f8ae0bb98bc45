"""The utility probe on shipped models: its masks give, with numpy on dumped queries, keys and values, the objective that it reports, and
no small change of them gives a lower one."""
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.environ["RS_SOURCE_DIR"], "tests", "support"))
import venv_test  # noqa: E402

venv_test.enter()

import h5py  # noqa: E402
import numpy as np  # noqa: E402
import sampled_draws as draws  # noqa: E402

SOURCE, PROGRAM = os.environ["RS_SOURCE_DIR"], os.environ["RS_PROGRAM"]
SAMPLES = os.path.join(SOURCE, "data", "samples")
CONTEXT, SEED = 80, 3


def softmax(z):
    p = np.exp(z - z.max())
    return p / p.sum()


def objective(q, k, v, rows, u):
    """Equation 4 of arXiv 2502.11276 with alpha = 1 / Dh, mean over rows; q, k rotated."""
    scale, error, power = q.shape[1] ** -0.5, 0.0, 0.0
    for m in rows:
        whole = softmax(scale * k[: m + 1] @ q[m]) @ v[: m + 1]
        error += ((softmax(scale * k[: m + 1] @ (q[m] * u)) @ v[: m + 1] - whole) ** 2).sum()
        power += (whole**2).sum()
    return error / len(rows) + u.mean(), error / power


def weights(model, name):
    """A matrix of a safetensors file, as float64."""
    with open(os.path.join(SAMPLES, "models", model, "model.safetensors"), "rb") as f:
        n = int.from_bytes(f.read(8), "little")
        entry = json.loads(f.read(n))[name]
        f.seek(8 + n + entry["data_offsets"][0])
        raw = f.read(entry["data_offsets"][1] - entry["data_offsets"][0])
    if entry["dtype"] == "BF16":
        x = (np.frombuffer(raw, np.uint16).astype(np.uint32) << 16).view(np.float32)
    else:
        x = np.frombuffer(raw, {"F32": np.float32, "F16": np.float16}[entry["dtype"]])
    return x.reshape(entry["shape"]).astype(np.float64)


def check_row_norms(model, layer, f):
    """Sums of |w| of the rows of W_q, and their correlation with the masks."""
    u = f["utility/component"][layer].astype(np.float64)
    name = "qkv_proj" if model == "partial-rope-0.25" else "q_proj"  # joined: queries stand first
    norms = np.abs(weights(model, f"model.layers.{layer}.self_attn.{name}.weight")).sum(1)[: u.size]
    np.testing.assert_allclose(f["utility/row_norm"][layer], norms.reshape(u.shape), rtol=1e-6)
    for h in range(len(u)):
        if u[h].std() > 1e-6:
            expected = np.corrcoef(u[h], norms.reshape(u.shape)[h])[0, 1]
            assert abs(f["utility/row_norm_correlation"][layer, h] - expected) < 1e-4, (model, layer, h)


def main():
    with tempfile.TemporaryDirectory() as folder:
        for model in ("full-rope", "partial-rope-0.25", "nope"):
            common = [os.path.join(SAMPLES, "models", model), os.path.join(SAMPLES, "text.txt"), "--context", str(CONTEXT), "--sequences", "1",
                      "--quiet", "--force", "--device", "cpu"]
            out, acts = os.path.join(folder, "run.h5"), os.path.join(folder, "acts.h5")
            subprocess.run([PROGRAM, "audit", *common, "--seed", str(SEED), "-o", out, "--probe", "utility"], check=True)
            subprocess.run([PROGRAM, "dump", *common, "-o", acts, *[x for s in ("rot_q", "rot_k", "v") for x in ("--site", f"blocks.*.hook_{s}")]], check=True)
            random, solved = np.random.default_rng(1), 0
            with h5py.File(out) as f, h5py.File(acts) as g:
                rows = draws.rows(SEED, g["tokens"][0])
                for layer in range(f["utility/component"].shape[0]):
                    check_row_norms(model, layer, f)
                    q, k, v = (g[f"blocks.{layer}.attn.hook_{x}"][0].astype(np.float64) for x in ("rot_q", "rot_k", "v"))
                    for h in range(q.shape[1]):
                        u, kv = f["utility/component"][layer, h].astype(np.float64), h * k.shape[1] // q.shape[1]
                        J, share = objective(q[:, h], k[:, kv], v[:, kv], rows, u)
                        # u is stored in float32: 1e-7 of 1, times a gradient of at most some tens
                        assert abs(J - f["utility/objective"][layer, h]) < 1e-5, (model, layer, h, J, f["utility/objective"][layer, h])
                        assert abs(share - f["utility/error_share"][layer, h]) < 1e-4 * max(share, 0.01)
                        pairs = u.reshape(2, -1).mean(0) if model != "partial-rope-0.25" else None
                        if pairs is not None:
                            np.testing.assert_allclose(f["utility/pair"][layer, h], pairs, atol=1e-6)
                        if f["utility/residual"][layer, h] > 0.02:
                            continue  # stopped at the last step or where steps gain too little
                        solved += 1
                        for _ in range(8):
                            other = np.clip(u + random.normal(0, 0.02, u.shape), 0, 1)
                            assert objective(q[:, h], k[:, kv], v[:, kv], rows, other)[0] > J - 2e-4, (model, layer, h)
            assert solved >= 6, (model, solved)
            print(f"{model}: passed, {solved} heads at a minimum")


main()
