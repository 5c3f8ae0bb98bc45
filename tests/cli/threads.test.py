"""The number of threads: the same one gives the same bytes, however they wait for each other; another one the same numbers."""
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.environ["RS_SOURCE_DIR"], "tests", "support"))
import venv_test  # noqa: E402

venv_test.enter()

import h5py  # noqa: E402
import numpy as np  # noqa: E402

SAMPLES, PROGRAM = os.path.join(os.environ["RS_SOURCE_DIR"], "data", "samples"), os.environ["RS_PROGRAM"]


def arrays(folder, name, threads, *left_out):
    out = os.path.join(folder, name + ".h5")
    subprocess.run([PROGRAM, "audit", os.path.join(SAMPLES, "models", "full-rope"), os.path.join(SAMPLES, "text.txt"), "--sequences", "3", "--device", "cpu",
                    "--threads", threads, "-q", "-o", out], check=True, env={k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", *left_out)})
    found = {}
    with h5py.File(out) as f:
        f.visititems(lambda n, item: found.__setitem__(n, item[...]) if isinstance(item, h5py.Dataset) else None)
    return found


def main():
    with tempfile.TemporaryDirectory() as folder:
        one, two = arrays(folder, "one", "1"), arrays(folder, "two", "2")
        again = arrays(folder, "again", "2", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")  # the program chooses, and begins anew for it
        assert set(one) == set(two) == set(again) and len(one) > 60
        worst = (0.0, "")
        for name, a in two.items():
            assert a.tobytes() == again[name].tobytes(), f"{name}: two runs with two threads differ"
            b = one[name]
            # A correlation, an index of a maximum and a share of wins jump where what they rest on is a tie; that is compared here.
            if a.dtype.kind != "f" or name.endswith(("_pair", "split_half", "_top", "token_top1")) or "fit_" in name:
                continue
            assert (np.isnan(a) == np.isnan(b)).all(), name
            scale = np.nanmax(np.abs(b)) if np.isfinite(b).any() else 0.0
            if scale > 0:
                worst = max(worst, (float(np.nanmax(np.abs(a.astype("f8") - b.astype("f8"))) / scale), name))
        # Products of float32 may be summed in another order: a few parts in 10^7 of the largest entry.
        assert worst[0] < 1e-6, worst
        print(f"{len(two)} arrays, one and two threads: {worst[0]:.1e} of the largest entry ({worst[1]})")


main()
