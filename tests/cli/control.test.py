"""audit --control: rows of the query and key projections in a random order, and nothing else."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(os.environ.get("RS_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(SOURCE / "tests/support"))
sys.dont_write_bytecode = True
import venv_test  # noqa: E402

venv_test.enter()

import h5py  # noqa: E402
import numpy as np  # noqa: E402

PROGRAM = os.environ.get("RS_PROGRAM", str(SOURCE / "build/ropescope"))


class Control(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="ropescope-test-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, True)
        cls.found = {name: cls.audit(name, *more) for name, more in (("model", []), ("one", ["--control", "1"]), ("again", ["--control", "1"]), ("two", ["--control", "2"]))}

    @classmethod
    def audit(cls, name, *more):
        out = cls.folder / f"{name}.h5"
        subprocess.run([PROGRAM, "audit", SOURCE / "data/samples/models/full-rope", SOURCE / "data/samples/text.txt", "--sequences", "2", "--device", "cpu",
                        "--probe", "frequency_norm", "-q", "-o", out, *more], check=True)
        with h5py.File(out) as f:
            return {n: f[n][...] for n in ("frequency_norm/q_rms", "frequency_norm/k_rms", "frequency_norm/v_rms", "loss/token_nll")} | dict(f.attrs)

    def test_rows_are_moved_and_kept(self):
        """What enters layer 0 is the same, so there every row's output is the same and only its place is another: the squares over all
        heads and pairs have one sum (float64 sums of float32 squares: 1e-6), one head's do not; values are left alone."""
        model, one = self.found["model"], self.found["one"]
        for of in "qk":
            a, b = (f[f"frequency_norm/{of}_rms"][0].astype("f8") ** 2 for f in (model, one))
            self.assertAlmostEqual(b.sum() / a.sum(), 1, delta=1e-6)
            self.assertGreater(np.abs(a.sum(1) - b.sum(1)).max(), 0.02 * a.sum(1).max())
        np.testing.assert_array_equal(model["frequency_norm/v_rms"][0], one["frequency_norm/v_rms"][0])

    def test_a_seed_is_one_order(self):
        for name in ("frequency_norm/q_rms", "loss/token_nll"):
            np.testing.assert_array_equal(self.found["one"][name], self.found["again"][name])
            self.assertFalse(np.array_equal(self.found["one"][name], self.found["two"][name], equal_nan=True))
        q, k = (np.sort(self.found["one"][f"frequency_norm/{of}_rms"][0], axis=None) for of in "qk")
        self.assertFalse(np.array_equal(q, k))

    def test_the_run_says_so(self):
        self.assertEqual((self.found["model"]["control"], self.found["one"]["control"]), (0, 1))
        self.assertGreater(self.found["one"]["mean_nll"], self.found["model"]["mean_nll"] + 0.5)
        said = subprocess.run([PROGRAM, "report", self.folder / "one.h5"], check=True, capture_output=True, text=True).stdout
        self.assertIn("warning: This is a control (--control 1)", said)
        refused = subprocess.run([PROGRAM, "ablate", self.folder / "one.h5", "-q"], capture_output=True, text=True)
        self.assertEqual(refused.returncode, 2)
        self.assertIn("a control (audit --control)", refused.stderr)


unittest.main()
