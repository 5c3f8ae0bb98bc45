"""ropescope ablate from the command line, against what is not its own: a checkpoint whose weights were zeroed, numpy's order of the
run's arrays, a model without rotation; resuming; and what it refuses."""
import json
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(os.environ.get("RS_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(SOURCE / "tests/support"))
sys.dont_write_bytecode = True
PROGRAM = os.environ.get("RS_PROGRAM", str(SOURCE / "build/ropescope"))
GOLDEN, SHIPPED = SOURCE / "tests/golden/families/llama_gqa", SOURCE / "data/samples/models"


def run(*args, cwd):
    return subprocess.run([PROGRAM, *map(str, args)], cwd=cwd, capture_output=True, text=True)


class Ablate(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="ropescope-test-"))
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.model = self.folder / "model"
        shutil.copytree(GOLDEN, self.model, copy_function=shutil.copyfile)
        self.config = json.loads((self.model / "config.json").read_text())
        rows = [" ".join(str((7 * i * i + 3 * s) % self.config["vocab_size"]) for i in range(32)) for s in range(3)]
        (self.folder / "ids.txt").write_text("\n".join(rows) + "\n")
        self.audit()

    def audit(self, model="model", out="run.h5"):
        r = run("audit", model, "--ids", "ids.txt", "-o", out, "-q", "--device", "cpu", cwd=self.folder)
        self.assertEqual(r.returncode, 0, r.stderr)

    def ablate(self, *args, out="run.h5"):
        r = run("ablate", out, "--ids", "ids.txt", "-q", "--device", "cpu", "-f", "json", *args, cwd=self.folder)
        self.assertEqual(r.returncode, 0, r.stderr)
        return json.loads(r.stdout)

    def refused(self, code, *words, args):
        before = {p: p.stat().st_size for p in self.folder.rglob("*")}
        r = run(*args, cwd=self.folder)
        self.assertEqual(r.returncode, code, r.stderr)
        for word in words:
            self.assertIn(word, r.stderr)
        self.assertEqual(before, {p: p.stat().st_size for p in self.folder.rglob("*")})

    def attributes(self, out="run.h5"):
        with h5py.File(self.folder / out) as f:
            return dict(f.attrs)

    @unittest.skipIf(os.environ.get("RS_SANITIZED"), "about numbers; the other tests go the same ways on a smaller model")
    def test_verdicts_hold_against_the_loss(self):
        """What a trained model's pairs are called, from attention alone, is held against its loss: idle pairs can go and semantic ones
        stop turning at a fraction of what as many random pairs of the same heads cost, positional ones cost more than those."""
        text = SOURCE / "data/samples/text.txt"
        r = run("audit", SHIPPED / "full-rope", text, "--sequences", "12", "-o", "full.h5", "-q", "--deep", "--device", "cpu", cwd=self.folder)
        self.assertEqual(r.returncode, 0, r.stderr)
        r = run("ablate", "full.h5", "-e", "verdict", "-q", "-f", "json", "--device", "cpu", cwd=self.folder)
        self.assertEqual(r.returncode, 0, r.stderr)
        rows, found = json.loads(r.stdout), {}
        with h5py.File(self.folder / "full.h5") as f:
            verdict = f["contribution/verdict"][...]
        for number, name in ((1, "positional"), (2, "semantic"), (4, "idle")):
            for mode in ("zero", "unrotate"):
                mine = [x for x in rows if x["amount"] == number and x["mode"] == mode]
                self.assertEqual({x["pairs"] for x in mine}, {int((verdict == number).sum())})
                controls = sorted(x["delta_nll"] for x in mine if x["seed"] is not None)
                self.assertEqual(len(controls), 5)
                found[name, mode] = next(x for x in mine if x["seed"] is None)["delta_nll"], controls[2]
        for key in (("idle", "zero"), ("idle", "unrotate"), ("semantic", "unrotate")):
            self.assertLess(found[key][0], 0.25 * found[key][1], key)
        for mode in ("zero", "unrotate"):
            self.assertGreater(found["positional", mode][0], 2 * found["positional", mode][1], mode)

    def test_pairs_of_little_utility(self):
        """Those whose mask is below a half, in every head, and as many random ones of the same heads (arXiv 2502.11276, 5.2)."""
        text = SOURCE / "data/samples/text.txt"
        r = run("audit", SHIPPED / "full-rope", text, "--sequences", "2", "-o", "u.h5", "-q", "--probe", "utility", "--device", "cpu",
                cwd=self.folder)
        self.assertEqual(r.returncode, 0, r.stderr)
        r = run("ablate", "u.h5", "-e", "utility", "-q", "-f", "json", "--seeds", "2", "--device", "cpu", cwd=self.folder)
        self.assertEqual(r.returncode, 0, r.stderr)
        rows = json.loads(r.stdout)
        with h5py.File(self.folder / "u.h5") as f:
            below = int((f["utility/pair"][...] < 0.5).sum())
        self.assertGreater(below, 0)
        self.assertEqual([(x["mode"], x["ranking"], x["amount"], x["pairs"]) for x in rows],
                         [("zero", n, 0.5, below) for n in ("utility/pair", "random", "random")])

    def test_a_run_without_verdicts(self):
        self.refused(2, "contribution/verdict", "--deep", args=("ablate", "run.h5", "--ids", "ids.txt", "-q", "-e", "verdict"))

    def zero_slow_half(self, *heads):
        """A copy of the model without the query rows of the slowest half of these heads' pairs in layer 1; how many pairs that are."""
        c = self.config
        H = c["num_attention_heads"]
        D = c.get("head_dim") or c["hidden_size"] // H
        with h5py.File(self.folder / "run.h5") as f:
            lo, hi = f["rope/component_lo"][1].astype(int), f["rope/component_hi"][1].astype(int)
        count = D // 4
        path = self.folder / "zeroed" / "model.safetensors"
        shutil.copytree(self.model, path.parent, copy_function=shutil.copyfile)
        raw = bytearray(path.read_bytes())
        n = struct.unpack("<Q", raw[:8])[0]
        t = json.loads(raw[8 : 8 + n])["model.layers.1.self_attn.q_proj.weight"]
        self.assertEqual(t["dtype"], "F32")
        row = 4 * t["shape"][1]
        for head in heads:
            for component in [*lo[-count:], *hi[-count:]]:
                at = 8 + n + t["data_offsets"][0] + (head * D + int(component)) * row
                raw[at : at + row] = bytes(row)
        path.write_bytes(raw)
        return count * len(heads)

    def test_zeroed_rows_of_the_query_projection(self):
        count = self.zero_slow_half(1)
        self.audit("zeroed", "zeroed.h5")
        want = float(self.attributes("zeroed.h5")["mean_nll"]) - float(self.attributes()["mean_nll"])
        rows = self.ablate("-e", "fraction", "-m", "zero", "-r", "high", "--fraction", "0.5", "--heads", "1.1", "--seeds", "1")
        got = next(r for r in rows if r["ranking"] == "high")
        self.assertEqual(got["pairs"], count)
        self.assertGreater(abs(want), 1e-5)
        self.assertAlmostEqual(got["delta_nll"], want, delta=1e-3 * abs(want) + 1e-7)  # float32 logits behind both

    def task(self, model, out, *more):
        r = run("audit", model, "--task", "copy", "--task-items", "8", "-c", "40", "-n", "30", "--seed", "4", "-q", "--device", "cpu",
                "-o", out, *more, cwd=self.folder)
        self.assertEqual(r.returncode, 0, r.stderr)

    def test_answers_of_a_task(self):
        """The task is made again from the run alone, and its answers are what is scored: as a run of the zeroed model has them."""
        count = self.zero_slow_half(0, 1)
        self.task("model", "task.h5")
        self.task("zeroed", "zeroed.h5")
        r = run("ablate", "task.h5", "-q", "-f", "json", "-e", "fraction", "-m", "zero", "-r", "high", "--fraction", "0.5", "--heads",
                "1.0,1.1", "--seeds", "1", "-n", "30", "--device", "cpu", cwd=self.folder)
        self.assertEqual(r.returncode, 0, r.stderr)
        got = next(x for x in json.loads(r.stdout) if x["ranking"] == "high")
        self.assertEqual((got["pairs"], got["heads"]), (count, "1.0,1.1"))
        with h5py.File(self.folder / "task.h5") as a, h5py.File(self.folder / "zeroed.h5") as b:
            np.testing.assert_array_equal(a["ablation/baseline_accuracy"][...], a["task/answer_top1"][...])
            np.testing.assert_allclose(a["ablation/baseline_nll"][...], a["task/answer_nll"][...], rtol=1e-12)
            np.testing.assert_array_equal(a["ablation/sequence_accuracy"][0], b["task/answer_top1"][...])
            want = (b["task/answer_nll"][...] - a["task/answer_nll"][...]).mean()
            self.assertGreater(abs(want), 1e-5)
            self.assertAlmostEqual(got["delta_nll"], want, delta=1e-3 * abs(want) + 1e-6)
            want = (b["task/answer_top1"][...] - a["task/answer_top1"][...]).mean()
            self.assertAlmostEqual(got["delta_accuracy"], want, delta=1e-12)
            self.assertTrue(got["accuracy_lo"] <= want <= got["accuracy_hi"])
            answers = a["task/answer"][...]
            self.assertEqual(a["ablation/delta_nll"].attrs["count"], (answers[:, 1] - answers[:, 0]).sum())
        db = sqlite3.connect(self.folder / "ropescope.sqlite")
        row = db.execute("SELECT delta_accuracy, accuracy_lo, accuracy_hi, tokens FROM v_ablation").fetchone()
        self.assertEqual(row, (got["delta_accuracy"], got["accuracy_lo"], got["accuracy_hi"], 30 * 4))
        self.refused(2, "other settings", args=["ablate", "task.h5", "-n", "2", "-q"])

    def test_heads_that_retrieve_and_others(self):
        """The edited heads show in the pairs that are counted: layers and heads alone, as a hand-written probe result has them."""
        self.task("model", "task.h5", "--probe", "retrieval")
        context, copy = np.zeros((2, 4)), np.zeros((2, 4))
        context[0, 1] = context[1, 2] = context[1, 3] = 0.51
        context[0, 0] = 0.49
        copy[1, 0] = 0.2
        with h5py.File(self.folder / "task.h5", "r+") as f:
            f["retrieval/context"][...], f["retrieval/copy"][...] = context, copy
        one = ["ablate", "task.h5", "-q", "-f", "json", "-e", "fraction", "-m", "zero", "-r", "high", "--fraction", "0.5", "--seeds", "1",
               "-n", "30", "--device", "cpu", "--heads"]
        found = {}
        for heads in ["retrieval", "0.1,1.2,1.3", "copying", "1.0", "others", "others:1", "copying-others"]:
            r = run(*one, heads, cwd=self.folder)
            self.assertEqual(r.returncode, 0, r.stderr)
            found[heads] = next(x for x in json.loads(r.stdout) if x["ranking"] == "high" and x["heads"] == heads)
        for word, heads in [("retrieval", "0.1,1.2,1.3"), ("copying", "1.0")]:
            self.assertEqual(found[word]["delta_nll"], found[heads]["delta_nll"])
            self.assertEqual(found[word]["pairs"], found[heads]["pairs"])
        for word, like in [("others", "retrieval"), ("others:1", "retrieval"), ("copying-others", "copying")]:
            self.assertEqual(found[word]["pairs"], found[like]["pairs"])
            self.assertNotEqual(found[word]["delta_nll"], found[like]["delta_nll"])
        self.assertNotEqual(found["others"]["delta_nll"], found["others:1"]["delta_nll"])
        copy[...] = 0.05
        with h5py.File(self.folder / "task.h5", "r+") as f:
            f["retrieval/copy"][...] = copy
        self.refused(2, "no head", args=[*one, "copying"])
        self.refused(2, "seed", args=[*one, "others:x"])
        self.refused(2, "--heads", args=[*one, "retrieval:1"])
        self.refused(2, "audit --task", args=["ablate", "run.h5", "--ids", "ids.txt", "-q", "--heads", "retrieval"])

    def test_older_catalogues_and_runs(self):
        """A catalogue and an /ablation from before accuracies: the one gets its columns, the other is refused."""
        self.ablate("-e", "p-rope", "--seeds", "1")
        db = sqlite3.connect(self.folder / "ropescope.sqlite")
        db.execute("DROP VIEW v_ablation")
        db.execute("CREATE VIEW v_ablation AS SELECT run_id, delta_nll FROM interventions")
        for column in ["delta_accuracy", "accuracy_lo", "accuracy_hi"]:
            db.execute(f"ALTER TABLE interventions DROP COLUMN {column}")
        db.commit()
        db.close()
        rows = self.ablate("-e", "p-rope", "-e", "ends", "--seeds", "1")
        db = sqlite3.connect(self.folder / "ropescope.sqlite")
        self.assertEqual(db.execute("SELECT count(delta_accuracy) FROM interventions").fetchone()[0], len(rows))
        self.assertGreater(db.execute("SELECT count(control_accuracy_mean) FROM v_ablation").fetchone()[0], 0)
        with h5py.File(self.folder / "run.h5", "r+") as f:
            del f["ablation/sequence_accuracy"]
        self.refused(2, "--force", args=["ablate", "run.h5", "--ids", "ids.txt", "-q"])

    def test_resuming_gives_what_one_go_gives(self):
        shutil.copyfile(self.folder / "run.h5", self.folder / "one.h5")
        whole = ["-e", "band", "-e", "ends", "--layers", "--seeds", "2"]
        one = self.ablate(*whole, out="one.h5")
        self.ablate("-e", "band", "--seeds", "2")
        two = self.ablate(*whole)
        self.assertEqual(one, two)
        size = (self.folder / "run.h5").stat().st_mtime_ns
        self.assertEqual(self.ablate(*whole), two)  # nothing left to do: the file is not touched
        self.assertEqual(size, (self.folder / "run.h5").stat().st_mtime_ns)
        with h5py.File(self.folder / "one.h5") as a, h5py.File(self.folder / "run.h5") as b:
            for name in a["ablation"]:
                np.testing.assert_array_equal(a["ablation"][name][...], b["ablation"][name][...], err_msg=name)
            self.assertEqual(dict(a["ablation"].attrs), dict(b["ablation"].attrs))
            base, nll = a["ablation/baseline_nll"][...], a["ablation/sequence_nll"][...]
            np.testing.assert_allclose((nll - base).mean(1), a["ablation/delta_nll"][...], atol=1e-12)
            tokens = a["loss/token_nll"][...]
            np.testing.assert_allclose(np.nanmean(tokens, 1), base, rtol=1e-12)

    def test_ctrl_c_keeps_what_was_measured(self):
        """Stopped between two edits: exit code 130, the run whole and with the rows so far; the same command goes on from there."""
        rows = [" ".join(str((7 * i * i + 3 * s) % self.config["vocab_size"]) for i in range(512)) for s in range(3)]
        (self.folder / "ids.txt").write_text("\n".join(rows) + "\n")
        (self.folder / "run.h5").unlink()
        self.audit()
        shutil.copyfile(self.folder / "run.h5", self.folder / "one.h5")
        whole = ["-e", "band", "--layers", "--seeds", "6"]
        p = subprocess.Popen([PROGRAM, "ablate", "run.h5", "--ids", "ids.txt", "--device", "cpu", *whole], cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        seen = b""
        while b"ablation" not in seen and p.poll() is None:  # the progress line
            seen += os.read(p.stderr.fileno(), 4096)
        self.assertIsNone(p.poll(), "all was measured before it could be stopped: make it longer")
        p.send_signal(signal.SIGINT)
        _, message = p.communicate(timeout=120)
        self.assertEqual(p.returncode, 130, message)
        self.assertIn(b"cancelled", message)
        with h5py.File(self.folder / "run.h5") as f:
            kept = [k for k in json.loads(f["ablation"].attrs["keys"])]
        one, two = self.ablate(*whole, out="one.h5"), self.ablate(*whole)
        self.assertTrue(0 < len(kept) < len(one), len(kept))
        self.assertEqual(one, two)
        self.assertEqual(sorted(p.name for p in self.folder.glob("run.h5*")), ["run.h5"])

    def test_dimensions_at_either_end(self):
        """The first n dimensions are the n / 2 pairs that a share of the fastest gives up: the same edits, the same losses."""
        rows = self.ablate("-e", "ends", "-m", "zero", "--dimensions", "2", "--dimensions", "6", "--seeds", "1")
        self.assertEqual([(x["ranking"], x["amount"]) for x in rows if x["seed"] is None], [(r, n) for n in (2, 6) for r in ("low", "high")])
        pairs = self.config.get("head_dim", self.config["hidden_size"] // self.config["num_attention_heads"]) // 2
        shares = self.ablate("-e", "fraction", "-m", "zero", "-r", "low", "-r", "high", "--fraction", str(3 / pairs), "--seeds", "1")
        for ranking in ("low", "high"):
            a = next(x for x in rows if x["ranking"] == ranking and x["amount"] == 6)
            b = next(x for x in shares if x["ranking"] == ranking and x["experiment"] == "fraction")
            self.assertEqual((a["pairs"], a["delta_nll"]), (b["pairs"], b["delta_nll"]))

    def test_catalogue(self):
        rows = self.ablate("-e", "p-rope", "--seeds", "2")
        db = sqlite3.connect(self.folder / "ropescope.sqlite")
        self.assertEqual(db.execute("SELECT count(*) FROM interventions").fetchone()[0], len(rows))
        for amount, delta, mean in db.execute("SELECT amount, delta_nll, control_mean FROM v_ablation"):
            self.assertEqual(delta, next(r["delta_nll"] for r in rows if r["seed"] is None and r["amount"] == amount))
            self.assertAlmostEqual(mean, np.mean([r["delta_nll"] for r in rows if r["seed"] is not None and r["amount"] == amount]))

    def test_a_model_that_does_not_rotate(self):
        r = run("audit", SHIPPED / "nope", SOURCE / "data/samples/text.txt", "-n", 2, "-c", 64, "-q", "-o", "nope.h5", cwd=self.folder)
        self.assertEqual(r.returncode, 0, r.stderr)
        r = run("ablate", "nope.h5", "-q", "-m", "unrotate", "-f", "json", cwd=self.folder)
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertTrue(all(x["delta_nll"] == 0 and x["pairs"] == 0 for x in json.loads(r.stdout)))

    def test_refusals(self):
        base = ["ablate", "run.h5", "--ids", "ids.txt", "-q"]
        self.refused(2, "no array", args=[*base, "-r", "moments/nothing"])
        self.refused(2, "expected an array", args=[*base, "-r", "rope/theta"])
        self.refused(2, "--experiment", args=[*base, "-e", "everything"])
        self.refused(2, "--heads", args=[*base, "--heads", "0.99"])
        self.refused(2, "--fraction", args=[*base, "--fraction", "1.5"])
        self.refused(2, "--dimensions 3", "even", args=[*base, "--dimensions", "3"])
        self.refused(2, "--dimensions x", args=[*base, "--dimensions", "x"])
        self.refused(2, "--ids", args=["ablate", "run.h5", "-q"])
        self.ablate("-e", "p-rope", "--seeds", "1")
        self.refused(2, "other settings", args=[*base, "-n", "2"])
        config = self.model / "config.json"
        good = config.read_text()
        ids = self.folder / "ids.txt"
        text = ids.read_text()
        ids.write_text(text.replace(" 7 ", " 8 ", 1))
        self.refused(4, "token ids", args=base)
        ids.write_text(text)
        config.write_text(good + "\n")
        weights = self.model / "model.safetensors"
        raw = bytearray(weights.read_bytes())
        raw[-1] ^= 1
        weights.write_bytes(raw)
        self.refused(4, "not the file", args=base)


if __name__ == "__main__":
    import venv_test

    venv_test.enter()
    import sqlite3

    import h5py
    import numpy as np

    unittest.main()
