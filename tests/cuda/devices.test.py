"""The CUDA backend from the command line: what `devices` and --device say where there is no card, and whole audits on the emulated
device, which runs the card's own sources (tests/support/cuda_host), against the CPU's."""
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.environ["RS_SOURCE_DIR"], "tests", "support"))
import venv_test  # noqa: E402

venv_test.enter()

import h5py  # noqa: E402
import numpy as np  # noqa: E402

SOURCE, BUILD, PROGRAM = os.environ["RS_SOURCE_DIR"], os.environ["RS_BUILD_DIR"], os.environ["RS_PROGRAM"]
# Another module under test (a card's, on a machine that has one) takes the place of the emulated device's.
EMULATED = os.environ.get("RS_CUDA_PLUGIN_UNDER_TEST", os.path.join(BUILD, "tests", "ropescope_cuda_emulated.so"))
ON_CARD = not EMULATED.endswith("_emulated.so")
SAMPLES = os.path.join(SOURCE, "data", "samples")
TEXT = os.path.join(SAMPLES, "text.txt")
# Statistics of one device against another in float32 (docs/accuracy.md), of the largest entry of an array.
BAR = 1e-4
# Sanitizers look for what any audit shows: one model with all probes and one order of threads are enough for them.
SANITIZED = bool(os.environ.get("RS_SANITIZED"))


def run(*arguments, status=0, **environment):
    done = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, check=False, env={**os.environ, **environment})
    assert done.returncode == status, f"{arguments} {environment}: {done.returncode}, expected {status}: {done.stderr}"
    return done


def audit(model, out, device, *more, status=0, **environment):
    return run("audit", os.path.join(SAMPLES, "models", model), TEXT, "--context", "96", "--sequences", "2", "-o", out, "--force", "--quiet",
               "--device", device, *more, status=status, **environment)


def emulated(model, out, *more, **environment):
    return audit(model, out, "cuda", *more, ROPESCOPE_CUDA_PLUGIN=EMULATED, **environment)


def arrays(path):
    found = {}
    with h5py.File(path) as f:
        f.visititems(lambda name, item: found.__setitem__(name, item[...]) if isinstance(item, h5py.Dataset) else None)
    return found


def test_no_card(folder):
    """Without the module or a driver: said by `devices`, exit code 3 for a device named, the CPU for auto."""
    missing, damaged = os.path.join(folder, "missing.so"), os.path.join(folder, "damaged.so")
    with open(damaged, "w") as f:
        f.write("not a module")
    for plugin in (missing, damaged):
        said = run("devices", ROPESCOPE_CUDA_PLUGIN=plugin).stdout
        assert "cuda   not available" in said and plugin in said, said
        refused = audit("nope", os.path.join(folder, "a.h5"), "cuda", status=3, ROPESCOPE_CUDA_PLUGIN=plugin)
        assert plugin in refused.stderr and not os.path.exists(os.path.join(folder, "a.h5")), refused.stderr
    audit("nope", os.path.join(folder, "a.h5"), "auto", ROPESCOPE_CUDA_PLUGIN=missing)
    with h5py.File(os.path.join(folder, "a.h5")) as f:
        assert f.attrs["device"].startswith("CPU") and f.attrs["compute"] == "f32"


def test_devices(folder):
    said = run("devices", ROPESCOPE_CUDA_PLUGIN=EMULATED).stdout
    assert ("emulated CUDA device" in said) != ON_CARD and "cuda   not available" not in said, said
    refused = audit("nope", os.path.join(folder, "b.h5"), "cuda:70", status=3, ROPESCOPE_CUDA_PLUGIN=EMULATED)
    assert "card" in refused.stderr and "numbered from 0" in refused.stderr, refused.stderr
    refused = audit("nope", os.path.join(folder, "b.h5"), "cuda:x", status=2, ROPESCOPE_CUDA_PLUGIN=EMULATED)
    assert "cuda:x" in refused.stderr, refused.stderr


def compare(model, folder, compute, bar, *more):
    cpu, card = os.path.join(folder, "cpu.h5"), os.path.join(folder, "card.h5")
    audit(model, cpu, "cpu", "--compute", compute, *more)
    emulated(model, card, "--compute", compute, *more)
    with h5py.File(card) as f:
        assert ("emulated" in f.attrs["device"]) != ON_CARD and f.attrs["compute"] == compute
    want, got = arrays(cpu), arrays(card)
    assert set(want) == set(got) and len(want) > 60, (model, set(want) ^ set(got))
    worst = (0.0, "")
    for name, a in want.items():
        b = got[name]
        if a.dtype.kind not in "fiu":
            assert (a == b).all(), name
            continue
        assert a.shape == b.shape and (np.isnan(a) == np.isnan(b)).all(), (model, name)
        scale = np.nanmax(np.abs(a)) if a.size and not np.isnan(a).all() else 0.0
        # A correlation or an index of a maximum jumps where what it rests on is a tie: those rest on arrays compared here.
        if scale == 0.0 or name.endswith(("_pair", "split_half", "_correlation")):
            continue
        if name.endswith(("_phase", "_phase_entropy", "agreement_256", "agreement_5_percent")) or "/top_" in name:
            # Counts: where float32 sums differ, one of a million angles stands on the other side of an edge, two keys of one logit
            # change places. It moves one count, for all pairs of one head where the keys are those of its whole logit.
            moved = np.nan_to_num(np.abs(a.astype(np.float64) - b.astype(np.float64)))
            assert (moved > 1e-6).sum() <= max(a.shape[-1], 1e-3 * a.size) and moved.max() < 0.03, f"{name}: {moved.max():g}"
            continue
        if name == "contribution/verdict":
            # A rule with thresholds over numbers compared here: one that lies on its threshold may fall on either side.
            assert (a != b).mean() < 0.01, name
            continue
        if "utility/" in name:
            # A descent of at most 60 steps: a last bit of what it starts from becomes a step more or a mask a little further on.
            # How far it got, and what it found, is the same on the whole.
            if not name.endswith(("residual", "steps", "state/utility/head")):
                moved = np.nan_to_num(np.abs(a.astype(np.float64) - b.astype(np.float64))) / scale
                assert moved.mean() < 1e-4 and moved.max() < 0.02, f"{name}: {moved.mean():g}, {moved.max():g}"
            continue
        # Without rotation some terms of the logit do not vary at all: what is stored then is rounding (1e-16), on either device.
        error = float(np.nanmax(np.abs(a.astype(np.float64) - b.astype(np.float64))) / max(scale, 1e-9))
        # The sums hold those counts too; all that is made of them is compared here.
        if name == "state/contribution/pair":
            continue
        worst = max(worst, (error, name))
        assert error <= bar, f"{model}, {compute}: {name} differs by {error:.2g} of its largest entry, allowed {bar:g}"
    print(f"{model}, {compute}: {len(want)} arrays, worst {worst[0]:.1e} ({worst[1]})", flush=True)


def test_pattern_in_memory(folder):
    """Products in bfloat16 need no pattern in memory; float32, or a measurement that must see the pattern itself, do."""
    for text, more, words in (([TEXT], [], "tiles     no attention pattern in memory"), ([TEXT], ["--compute", "f32"], "tiles     96 query rows"),
                              ([], ["--task", "copy"], "tiles     96 query rows")):
        said = run("audit", os.path.join(SAMPLES, "models", "full-rope"), *text, "--context", "96", "-o", os.path.join(folder, "x.h5"),
                   "--dry-run", "--device", "cuda", *more, ROPESCOPE_CUDA_PLUGIN=EMULATED).stdout
        assert words in said, said


def test_statistics(folder):
    for model in ("partial-rope-0.25",) if SANITIZED else ("full-rope", "partial-rope-0.25", "p-rope-0.75", "nope"):
        compare(model, folder, "f32", BAR, *(["--deep"] if model == "partial-rope-0.25" else []))
    # Inputs of products are rounded alike; where two float32 sums straddle a rounding, bfloat16 has 2^-8 to lose.
    compare("full-rope", folder, "bf16", 2e-2)


def test_repeatable(folder):
    """The same bytes at every run, and whatever order threads and blocks run in: an order that matters is a race."""
    first = None
    for seed in ("0", "7") if SANITIZED else ("0", "1", "7"):
        out = os.path.join(folder, f"seed{seed}.h5")
        emulated("p-rope-0.75", out, ROPESCOPE_EMULATED_SEED=seed)
        with h5py.File(out) as f:
            assert f.attrs["compute"] == "bf16"  # the default on a card for weights of 16 bits
        found = arrays(out)
        first = first or found
        for name, a in first.items():
            assert a.tobytes() == found[name].tobytes(), f"{name} depends on the order of threads (seed {seed})"


def test_several_cards(folder):
    """Sequences shared out over cards give what one card gives, but for the order of additions; a card is named once."""
    found = []
    for device in ("cuda", "cuda:2,0,1") if SANITIZED else ("cuda", "cuda:0,2", "cuda:2,0,1"):
        out = os.path.join(folder, f"{len(found)}.h5")
        run("audit", os.path.join(SAMPLES, "models", "partial-rope-0.25"), TEXT, "--context", "64", "--sequences", "5", "-o", out, "--quiet",
            "--compute", "f32", "--device", device, ROPESCOPE_CUDA_PLUGIN=EMULATED, ROPESCOPE_EMULATED_DEVICES="3")
        found.append(arrays(out))
        with h5py.File(out) as f:
            assert ("3 devices" in f.attrs["device"]) == (device.count(",") == 2), f.attrs["device"]
    for name, a in found[0].items():
        for b in found[1:]:
            if a.dtype.kind == "f":
                # Sums of 5 sequences in float64, in another order.
                np.testing.assert_allclose(b[name], a, rtol=1e-6, atol=1e-12, err_msg=name)
            else:
                assert (a == b[name]).all(), name
    for device, status in (("cuda:0,0", 2), ("cuda:0,", 0), ("cuda:,1", 2), ("cuda:0,9", 3)):
        audit("nope", os.path.join(folder, "x.h5"), device, status=status, ROPESCOPE_CUDA_PLUGIN=EMULATED, ROPESCOPE_EMULATED_DEVICES="2")
    refused = audit("nope", os.path.join(folder, "x.h5"), "cuda:0,1,2", status=2, ROPESCOPE_CUDA_PLUGIN=EMULATED,
                    ROPESCOPE_EMULATED_DEVICES="3")
    assert "3 devices for 2 sequences" in refused.stderr, refused.stderr


def test_out_of_memory(folder):
    """Every device allocation fails once: exit code 1, the reason, no file left behind, no crash."""
    out = os.path.join(folder, "oom.h5")
    for n in range(1, 200):
        done = subprocess.run(
            [PROGRAM, "audit", os.path.join(SAMPLES, "models", "nope"), TEXT, "--context", "32", "--sequences", "1", "-o", out, "--quiet",
             "--device", "cuda"], capture_output=True, text=True, check=False,
            env={**os.environ, "ROPESCOPE_CUDA_PLUGIN": EMULATED, "ROPESCOPE_EMULATED_FAIL_ALLOC": str(n)})
        if done.returncode == 0:
            break
        assert done.returncode == 1 and "out of memory" in done.stderr, (n, done.returncode, done.stderr)
        assert os.listdir(folder) == [], (n, os.listdir(folder))
    assert 20 < n < 199, n
    print(f"{n - 1} failing allocations", flush=True)


def main():
    if not os.path.exists(EMULATED):
        print("skipped: the emulated device was not built")
        return 77
    tests = [test_no_card, test_devices, test_pattern_in_memory, test_statistics, test_repeatable]
    if not ON_CARD:
        tests += [test_several_cards, test_out_of_memory]  # cards are not made, and do not fail, on demand
    for test in tests:
        with tempfile.TemporaryDirectory() as folder:
            test(folder)
        print(f"{test.__name__}: passed", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
