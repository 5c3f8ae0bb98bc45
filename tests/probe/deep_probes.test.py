"""The probes of sampled rows on the shipped models, from the command line: what `audit` finds against numpy on the activations that
`dump` writes of the same run. Full, partial, p- and no RoPE."""
import math
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
MODELS = ["full-rope", "partial-rope-0.25", "p-rope-0.75", "nope"]
CONTEXT, SEQUENCES, SEED = 72, 2, 5
TOLERANCE = 2e-6  # results are stored in float32


def run(*arguments):
    done = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{arguments}: {done.returncode}: {done.stderr}"


def measure(model, folder):
    common = [os.path.join(SAMPLES, "models", model), os.path.join(SAMPLES, "text.txt"), "--context", str(CONTEXT), "--sequences",
              str(SEQUENCES), "--quiet", "--force", "--device", "cpu"]
    out, acts = os.path.join(folder, "run.h5"), os.path.join(folder, "acts.h5")
    run("audit", *common, "--seed", str(SEED), "-o", out, "--probe", "contribution", "--probe", "position_content", "--probe", "stability")
    run("dump", *common, "-o", acts, "--site", "blocks.*.hook_q_rope", "--site", "blocks.*.hook_k_rope")
    return out, acts


class Layer:
    """Activations of one layer as complex pairs [sequence, position, head, pair]."""

    def __init__(self, found, acts, layer):
        rope = found["rope"]
        lo, hi = rope["component_lo"][layer].astype(int), rope["component_hi"][layer].astype(int)
        q, k = (acts[f"blocks.{layer}.attn.hook_{x}_rope"][()].astype(np.float64) for x in "qk")
        self.q, self.k = q[..., lo] + 1j * q[..., hi], k[..., lo] + 1j * k[..., hi]
        self.theta = rope["theta"][layer]
        self.gain = np.full(len(lo), q.shape[-1] ** -0.5) * rope["attention_factor"][layer] ** 2
        self.tokens = acts["tokens"][()]
        self.group = self.q.shape[2] // self.k.shape[2]
        self.heads = self.q.shape[2]

    def rows(self):
        for s in range(SEQUENCES):
            for m in draws.rows(SEED, self.tokens[s]):
                yield s, m

    def parts(self, s, m, h, keys=None, distance=None, q=None, theta=None):
        """[keys, pairs] by position."""
        keys = self.k[s, : m + 1, h // self.group] if keys is None else keys
        distance = m - np.arange(m + 1) if distance is None else distance
        q = self.q[s, m, h] if q is None else q
        theta = self.theta if theta is None else theta
        return self.gain * (q * keys.conj() * np.exp(1j * np.outer(distance, theta))).real


def log_softmax(z):
    z = z - z.max()
    return z - math.log(np.exp(z).sum())


def kl(z, other):
    a, b = log_softmax(z), log_softmax(other)
    return (np.exp(a) * (a - b)).sum()


def near(name, found, expected, tolerance=TOLERANCE):
    expected = np.asarray(expected)
    assert found.shape == expected.shape, name
    assert (np.isnan(found) == np.isnan(expected)).all(), name
    if np.isnan(expected).all():
        return
    error, most = np.nanmax(np.abs(found - expected)), np.nanmax(np.abs(expected))
    assert error <= max(tolerance * most, 1e-14), f"{name}: {error} of {most}"


def contribution(layer):
    names = ["lift", "variance", "kl_zero_predicted", "kl_zero", "kl_scale", "kl_unrotate", "sink_logit"]
    sums, n = {name: np.zeros((layer.heads, len(layer.theta))) for name in names}, 0
    for s, m in layer.rows():
        n += 1
        for h in range(layer.heads):
            c = layer.parts(s, m, h)
            flat = layer.parts(s, m, h, theta=0 * layer.theta)
            z = c.sum(1)
            p = np.exp(log_softmax(z))
            mean = p @ c
            variance = p @ (c - mean) ** 2
            for name, value in zip(names, (
                    mean - c.mean(0), variance, 0.5 * variance, [kl(z, z - x) for x in c.T], [kl(z, z - 0.1 * x) for x in c.T],
                    [kl(z, z + y - x) for x, y in zip(c.T, flat.T)], c[0])):
                sums[name][h] += value
    return {name: value / n for name, value in sums.items()}


def levels(layer):
    names = ["uniform", "means", "unrotated", "shift_1", "shift_16", "permuted_position", "permuted_content"]
    sums, n = {name: np.zeros(layer.heads) for name in names}, 0
    q_mean, k_mean = layer.q[:, 1:].mean(1), layer.k[:, 1:].mean(1)
    for s, m in layer.rows():
        n += 1
        D = m - np.arange(m + 1)
        moved = np.arange(m + 1)
        moved[m - np.arange(m)] = m - np.array(draws.permutation(SEED, layer.tokens[s], m, m))
        for h in range(layer.heads):
            kv = h // layer.group
            keys = layer.k[s, : m + 1, kv]
            means = np.repeat(k_mean[s, kv][None], m + 1, 0)
            means[0] = keys[0]
            z = layer.parts(s, m, h).sum(1)
            at_place = layer.parts(s, m, h, keys=keys[moved]).sum(1)
            followed = np.empty_like(at_place)
            followed[moved] = at_place
            others = [0 * z, layer.parts(s, m, h, keys=means, q=q_mean[s, h]).sum(1),
                      layer.parts(s, m, h, theta=0 * layer.theta).sum(1), layer.parts(s, m, h, distance=D + 1).sum(1),
                      layer.parts(s, m, h, distance=D + 16).sum(1), at_place, followed]
            for name, other in zip(names, others):
                sums[name][h] += kl(z, other)
    return {"kl_" + name: value / n for name, value in sums.items()}


def anova(layer):
    """Least squares by singular values, with the rows' means in every model."""
    shares = np.zeros((3, 2, layer.heads))
    for s in range(SEQUENCES):
        rows = draws.rows(SEED, layer.tokens[s])
        at = [(i, m - n, n) for i, m in enumerate(rows) for n in range(1, m + 1)]
        design = np.zeros((len(at), len(rows) + 2 * CONTEXT))
        for o, (i, D, n) in enumerate(at):
            design[o, [i, len(rows) + D, len(rows) + CONTEXT + n]] = 1
        row, distance, key = np.split(design, [len(rows), len(rows) + CONTEXT], axis=1)
        for h in range(layer.heads):
            z = np.concatenate([layer.parts(s, m, h).sum(1)[1:] for m in rows])
            total = z - row @ np.linalg.lstsq(row, z)[0]
            whole = total @ total
            for k, model in enumerate(([row, distance], [row, key], [row, distance, key])):
                X = np.concatenate(model, 1)
                effects, _, rank, _ = np.linalg.lstsq(X, z, rcond=1e-10)
                left = ((z - X @ effects) ** 2).sum()
                df = rank - len(rows)
                shares[k, :, h] += whole - left - df * left / (len(z) - rank), whole
    distance, key, both = shares[:, 0] / shares[:, 1]
    return {"anova_distance": distance, "anova_key": key, "anova_rest": 1 - both}


def stability(layer, window):
    """By enumeration: moments of the preference over all distances in place of the closed form."""
    D, rotary = np.arange(window), layer.theta > 0
    turns = np.exp(1j * np.outer(D, layer.theta))
    sums = {name: np.zeros(layer.heads) for name in ("reversal", "exact", "triplets", "change", "fast", "pairs")}
    for s, m in layer.rows():
        drawn = draws.cell_distances(SEED, layer.tokens[s], m, m)
        for h in range(layer.heads):
            c = layer.gain * layer.q[s, m, h] * layer.k[s, [m - d for d in drawn], h // layer.group].conj()
            curves = (c[:, None] * turns).real.sum(-1)  # [keys, window]
            for a in range(0, len(drawn) - 1, 2):
                S = curves[a] - curves[a + 1]
                if abs(S[0]) <= 1e-13 * np.abs(c[a] - c[a + 1]).sum():
                    continue
                deviation = S.std() if rotary.any() else 0.0
                side = S.mean() * np.sign(S[0]) / math.sqrt(2)
                sums["reversal"][h] += 0.5 * math.erfc(side / deviation) if deviation > 0 else float(side < 0)
                sums["exact"][h] += (np.sign(S) != np.sign(S[0])).mean() if rotary.any() else 0.0
                sums["triplets"][h] += 1
            if rotary.any():
                norm = np.sqrt((np.abs(c[:, rotary]) ** 2).sum(1))
                fast = np.sqrt((np.abs(c[:, layer.theta * window >= 2]) ** 2).sum(1))
                sums["change"][h] += (np.abs(np.diff(curves)).mean(1) / norm).sum()
                sums["fast"][h] += (fast / norm).sum()
                sums["pairs"][h] += len(drawn)
    with np.errstate(invalid="ignore"):
        return {"semantic_stability": 1 - sums["reversal"] / sums["triplets"],
                "semantic_stability_exact": 1 - sums["exact"] / sums["triplets"],
                "positional_sensitivity": sums["change"] / sums["pairs"], "fast_share": sums["fast"] / sums["pairs"],
                "window": np.full(layer.heads, float(window))}


def check_without_rotation(found):
    c, p = found["contribution"], found["position_content"]
    for name in ("contribution/kl_unrotate", "contribution/kl_unrotate_predicted", "position_content/kl_unrotated",
                 "position_content/kl_shift_1", "position_content/kl_shift_16"):
        assert (found[name][()] == 0.0).all(), f"{name}: nothing rotates, yet something changes"
    for name in ("top_unrotated", "top_shift_1", "top_shift_16"):
        assert (p[name][()] == 1.0).all(), name
    assert (c["kl_zero"][()] > 0).all()
    assert (found["stability/semantic_stability"][()] == 1.0).all()
    assert np.isnan(found["stability/positional_sensitivity"][()]).all()


def check(model):
    with tempfile.TemporaryDirectory() as folder:
        out, acts = measure(model, folder)
        with h5py.File(out) as found, h5py.File(acts) as a:
            window = min(CONTEXT, int(found.attrs["trained_context"]))
            for number in range(int(found.attrs["layers"])):
                layer = Layer(found, a, number)
                for group, values in (("contribution", contribution(layer)), ("position_content", levels(layer)),
                                      ("position_content", anova(layer)), ("stability", stability(layer, window))):
                    for name, expected in values.items():
                        near(f"{model} layer {number} {group}/{name}", found[f"{group}/{name}"][number], expected)
            if model == "nope":
                check_without_rotation(found)


for name in MODELS:
    check(name)
