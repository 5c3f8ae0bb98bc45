"""angular_spectrum from the command line on models that ship: against numpy, from the queries, keys and scores that `dump` writes; when it
runs (--deep, --probe) and when not; the same bytes whatever the number of threads. Without FFTW in the build: what is said then."""
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.environ["RS_SOURCE_DIR"], "tests", "support"))
import venv_test  # noqa: E402

venv_test.enter()

import h5py  # noqa: E402
import numpy as np  # noqa: E402

SOURCE, PROGRAM = os.environ["RS_SOURCE_DIR"], os.environ["RS_PROGRAM"]
SAMPLES = os.path.join(SOURCE, "data", "samples")
T, SEQUENCES = 200, 2
MODELS = ("full-rope", "partial-rope-0.25", "p-rope-0.75", "nope")
# Arrays are stored as float32 (6e-8); dump's queries and keys are the float32 numbers that the probe saw.
STORED = 2e-7
# Scores are float32 sums over the head's components, which the probe adds up in float64.
SCORES = 5e-6


def run(*arguments, status=0):
    done = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == status, f"{arguments}: {done.returncode}, expected {status}: {done.stderr}"
    return done


def inputs(model):
    return [os.path.join(SAMPLES, "models", model), os.path.join(SAMPLES, "text.txt"), "--context", str(T), "--sequences", str(SEQUENCES), "--device", "cpu",
            "--force"]


def audit(model, out, *more, status=0):
    return run("audit", *inputs(model), "-o", out, *more, status=status)


def close(name, got, want, bar):
    assert got.shape == want.shape, (name, got.shape, want.shape)
    assert (np.isnan(got) == np.isnan(want)).all(), name
    error = np.nanmax(np.abs(got - want)) / np.nanmax(np.abs(want))
    assert error <= bar, f"{name} differs by {error:.2g} of its largest entry, allowed {bar:g}"


def entropy(p):
    """Of the last axis, divided by that of equal shares."""
    p = p / p.sum(-1, keepdims=True)
    return -(p * np.log2(np.where(p > 0, p, 1))).sum(-1) / np.log2(p.shape[-1])


def spectra(z):
    """z: [sequence, position >= 1, head, pair] -> share of the power by frequency, SpectrumFE, SequenceFE."""
    size = np.abs(z)
    frame = 2 ** int(np.log2(T / 2))
    hann = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(frame) / frame))[None, :, None, None]
    power = sum((np.abs(np.fft.rfft(hann * size[:, at:at + frame], axis=1)) ** 2).sum(0) for at in range(0, T - frame, frame // 2))
    power = np.moveaxis(power, 0, -1)
    whole = np.moveaxis(np.abs(np.fft.rfft(size, axis=1)[:, 1:]) ** 2, 1, -1)
    return power / power.sum(-1, keepdims=True), entropy(power), entropy(whole).mean(0)


def by_distance(scores):
    """[.., query, key] over positions >= 1 -> [.., distance]; the last distance has no query and key without the sink."""
    n = scores.shape[-1]
    return np.stack([np.diagonal(scores, -d, -2, -1).mean(-1) for d in range(n)] + [np.full(scores.shape[:-2], np.nan)], -1)


def phases(z):
    angle = np.angle(z).reshape(-1, *z.shape[2:]) % (2 * np.pi)
    counts = np.stack([(np.floor(angle / (2 * np.pi) * 64) == b).sum(0) for b in range(64)], -1)
    return counts / counts.sum(-1, keepdims=True)


def check_model(model, folder):
    acts, out = os.path.join(folder, "acts.h5"), os.path.join(folder, "run.h5")
    run("dump", *inputs(model), "-o", acts, "--quiet", *(w for s in ("q_rope", "k_rope", "attn_scores") for w in ("--site", f"blocks.*.attn.hook_{s}")))
    audit(model, out, "--probe", "angular_spectrum", "--quiet")
    with h5py.File(acts) as a, h5py.File(out) as f:
        g = f["angular_spectrum"]
        lo, hi = f["rope/component_lo"][...].astype(int), f["rope/component_hi"][...].astype(int)
        assert np.allclose(f["spectrum_bin"][...], np.arange(33) / 64) and np.allclose(f["phase_bin"][...], 2 * np.pi * np.arange(64) / 64)
        for layer in range(lo.shape[0]):
            q, k = (a[f"blocks.{layer}.attn.hook_{s}_rope"][...].astype(np.float64)[:, 1:] for s in "qk")
            scores = a[f"blocks.{layer}.attn.hook_attn_scores"][...].astype(np.float64)[:, :, 1:, 1:]
            z = {s: x[..., lo[layer]] + 1j * x[..., hi[layer]] for s, x in (("q", q), ("k", k))}
            for s in "qk":
                power, spectrum, sequence = spectra(z[s])
                close(f"{model} {s}_norm_spectrum", g[f"{s}_norm_spectrum"][layer], power, STORED)
                close(f"{model} {s}_spectrum_entropy", g[f"{s}_spectrum_entropy"][layer], spectrum, STORED)
                close(f"{model} {s}_sequence_entropy", g[f"{s}_sequence_entropy"][layer], sequence, STORED)
                close(f"{model} {s}_phase", g[f"{s}_phase"][layer], phases(z[s]), STORED)
            # the whole logit: what the forward pass computed, and what the pairs add up to
            close(f"{model} mean_logit", g["mean_logit"][layer], by_distance(scores).mean(0), SCORES)
            close(f"{model} sum of pair_logit", g["pair_logit"][layer].sum(1), g["mean_logit"][layer], 10 * STORED)
            # every pair: queries and keys rotated to their positions
            turn = np.exp(1j * np.arange(1, T)[:, None] * f["rope/theta"][layer])[None, :, None, :]
            group = q.shape[2] // k.shape[2]
            pairs = np.einsum("sthf,snhf->shftn", z["q"] * turn, np.repeat(np.conj(z["k"] * turn), group, axis=2)).real / np.sqrt(q.shape[3])
            close(f"{model} pair_logit", g["pair_logit"][layer], by_distance(pairs).mean(0), STORED)
        turns = f["rope/theta"][...] * T / (2 * np.pi)
        close(f"{model} turns", g["turns_context"][...], turns, STORED) if turns.any() else None
        return float(np.nanmedian(g["position_share"][...]))


def check_choice(folder):
    """Not in the default set; there with --deep or by name; and `version` says so."""
    out, deep = os.path.join(folder, "a.h5"), os.path.join(folder, "b.h5")
    audit("nope", out, "--quiet")
    audit("nope", deep, "--deep", "--quiet")
    with h5py.File(out) as f, h5py.File(deep) as g:
        assert "angular_spectrum" not in f and f.attrs["probes"] == "frequency_norm moments attention_pattern"
        assert "angular_spectrum" in g and set(f) < set(g) and g.attrs["probes"].startswith(f.attrs["probes"])
    assert "--deep" in audit("nope", out, "--deep", "--probe", "moments", status=2).stderr
    lines = run("version").stdout.splitlines()
    at = next(i for i, line in enumerate(lines) if " angular_spectrum " in line)
    assert "only with --probe or --deep" in lines[at + 1]
    for default in ("frequency_norm", "moments", "attention_pattern"):
        at = next(i for i, line in enumerate(lines) if f" {default} " in line)
        assert "only with" not in lines[at + 1]


def check_documented(folder):
    """docs/store.md has every array with its axes and unit, and no other."""
    rows, found = {}, {}
    for line in open(os.path.join(SOURCE, "docs", "store.md"), encoding="utf-8"):
        cells = [c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == 4 and cells[0].startswith("`/angular_spectrum/"):
            for name in re.findall(r"`([^`]+)`", cells[0]):
                name = name.rsplit("/", 1)[-1]
                rows[name] = (cells[1].replace("(kv_)head", "kv_head" if name.startswith("k_") else "head"), cells[2])
    with h5py.File(os.path.join(folder, "b.h5")) as f:
        for name, d in f["angular_spectrum"].items():
            found[name] = (", ".join(axis[0].name.strip("/") for axis in d.dims), d.attrs["units"])
    assert rows == found, {name: (rows.get(name), found.get(name)) for name in rows.keys() | found.keys() if rows.get(name) != found.get(name)}


def check_threads(folder):
    found = []
    for threads in ("1", "2", "2"):
        out = os.path.join(folder, f"{len(found)}.h5")
        audit("full-rope", out, "--probe", "angular_spectrum", "--quiet", "--threads", threads)
        with h5py.File(out) as f:
            found.append({name: d[...] for name, d in f["angular_spectrum"].items()})
    for name, a in found[0].items():
        # Products that OpenBLAS forms may depend on the number of threads (float32); nothing of the probe does.
        if "phase" not in name:
            np.testing.assert_allclose(found[1][name], a, rtol=0, atol=1e-5 * np.nanmax(np.abs(a)), err_msg=name)
        assert found[1][name].tobytes() == found[2][name].tobytes(), f"{name}: another run, other bytes"


def check_without_fftw(folder):
    out = os.path.join(folder, "a.h5")
    assert "FFTW" in audit("nope", out, "--probe", "angular_spectrum", status=3).stderr and not os.path.exists(out)
    assert "angular_spectrum is left out" in audit("nope", out, "--deep").stderr
    with h5py.File(out) as f:
        assert "angular_spectrum" not in f and "moments" in f


with tempfile.TemporaryDirectory() as work:
    asked = subprocess.run([PROGRAM, "audit", *inputs("nope"), "--probe", "angular_spectrum", "--quiet", "-o", os.path.join(work, "x.h5")], capture_output=True,
                           text=True, check=False)
    if asked.returncode == 3:
        os.makedirs(os.path.join(work, "without"))
        check_without_fftw(os.path.join(work, "without"))
        print("this build is without FFTW, and says so")
        sys.exit(0)
    for name in MODELS:
        print(f"{name}: numpy agrees; median position share {check_model(name, work):.3f}", flush=True)
    check_choice(work)
    check_documented(work)
    check_threads(work)
