#!/usr/bin/env python3
"""The lab (data/lab) on a few steps of a made-up corpus: reproducible, resumable, matched between encodings; and what it exports,
as ropescope, the decoder it was trained as, and transformers compute it.

Runs under $ROPESCOPE_LAB_PYTHON, else python3; skipped where that lacks torch, tokenizers or safetensors (transformers: that part).
"""

import hashlib
import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(os.environ.get("RS_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
PROGRAM = os.environ.get("RS_PROGRAM", str(ROOT / "build" / "ropescope"))
PYTHON = os.environ.get("ROPESCOPE_LAB_PYTHON", "python3")
NEEDED = ("torch", "numpy", "tokenizers", "safetensors")


def enter():
    """Once more from the top under the lab's Python; exit code 77 where it lacks a package."""
    if os.environ.get("RS_LAB_TEST") is None:
        found = shutil.which(PYTHON)
        if found is None:
            print(f"skipped: {PYTHON} is not here; ROPESCOPE_LAB_PYTHON names a Python that has {', '.join(NEEDED)}")
            sys.exit(77)
        # one thread: sums are ordered by thread
        os.execve(found, [found] + sys.argv, dict(os.environ, RS_LAB_TEST="1", OMP_NUM_THREADS="1"))
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        print(f"skipped: {PYTHON} has no {', '.join(missing)}; ROPESCOPE_LAB_PYTHON names a Python that does (data/lab/lab makes one in build/lab/venv)")
        sys.exit(77)


enter()
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "data" / "lab"))

import numpy as np
import torch

import corpus
import evaluate
import export
import positions
import statistics_file
import toy
import train
import trigram
from decoder import Decoder, Shape

CONTEXT, SEED = 64, 3
WORDS = "the a sea ship captain said and went old under rope knot of to in his her red night never again wind over".split()


def prose(seed, words):
    """Sentences of drawn words, some twice in a row so that there is something to learn."""
    draw = np.random.default_rng(seed)
    out = []
    for word in draw.choice(WORDS, words):
        out += [str(word)] * (1 + int(draw.random() < 0.1))
        if draw.random() < 0.1:
            out[-1] += ".\n"
    return " ".join(out) + "\n"


def write_corpus(folder):
    """Three books and their manifest."""
    rows = ["file\tbytes\ttitle\tauthor\tsource\tsha256\tsplit"]
    for seed, (split, words) in enumerate((("train", 9000), ("valid", 1200), ("test", 1200))):
        data = prose(seed, words).encode()
        (folder / f"{split}.txt").write_bytes(data)
        rows.append(f"{split}.txt\t{len(data)}\tBook {seed}\tNobody\tmade up\t{hashlib.sha256(data).hexdigest()}\t{split}")
    (folder / "manifest.tsv").write_text("\n".join(rows) + "\n")


class Interrupted(Exception):
    pass


class Lab(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory(prefix="ropescope-lab-")
        cls.folder = pathlib.Path(cls.scratch.name)
        write_corpus(cls.folder)
        cls.work = cls.folder / "work"
        corpus.prepare(cls.folder, cls.work, cls.folder / "manifest.tsv")
        vocabulary = json.loads((cls.work / "corpus.json").read_text())["vocabulary"]
        cls.shape = Shape(vocabulary=vocabulary, width=64, layers=2, heads=2, hidden=96, context=CONTEXT)

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def fresh(self, name):
        """Another work folder with the same tokens."""
        work = self.folder / name
        work.mkdir()
        for file in self.work.iterdir():
            if file.is_file():
                shutil.copy(file, work)
        return work

    def train(self, work, encoding, steps=4, save_every=2):
        recipe = train.Recipe(steps=steps, batch=4, warmup=2, compiled=False)
        return train.train(work, positions.ENCODINGS[encoding], SEED, recipe, self.shape, save_every)

    def assert_same_state(self, a, b):
        """Weights and moments of the optimiser, to the last bit."""
        a, b = (torch.load(folder / "state.pt", weights_only=True) for folder in (a, b))
        self.assertEqual(a["model"].keys(), b["model"].keys())
        for name in a["model"]:
            self.assertTrue(torch.equal(a["model"][name], b["model"][name]), name)
        for number, moments in a["optimiser"]["state"].items():
            for name, value in moments.items():
                self.assertTrue(torch.equal(value, b["optimiser"]["state"][number][name]), f"{number} {name}")
        self.assertEqual(a["optimiser"]["param_groups"], b["optimiser"]["param_groups"])

    def test_two_runs_give_the_same_bytes(self):
        folders = []
        for name in ("once", "twice"):
            run = self.train(self.fresh(name), "p-rope-0.75")
            export.export(run, self.folder / f"{name}-out", "0000000")
            folders.append((run, self.folder / f"{name}-out"))
        self.assert_same_state(folders[0][0], folders[1][0])
        for file in ("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json", "README.md"):
            self.assertEqual(*((out / file).read_bytes() for _, out in folders), file)

    def test_two_steps_and_two_more_are_four(self):
        whole = self.train(self.fresh("whole"), "full")
        work, save = self.fresh("parts"), train.save

        def save_and_stop(path, state):
            save(path, state)
            if state["step"] == 2:
                raise Interrupted

        train.save = save_and_stop
        try:
            with self.assertRaises(Interrupted):
                self.train(work, "full")
        finally:
            train.save = save
        self.assertEqual(train.load(work / whole.name)[1]["step"], 2)
        self.assert_same_state(self.train(work, "full"), whole)
        with self.assertRaises(SystemExit):  # the folder belongs to a run of four steps
            self.train(work, "full", steps=6)

    def test_encodings_start_from_the_same_weights_and_see_the_same_windows(self):
        seen, forward = {}, train.Decoder.forward

        def watched(model, ids, targets):
            if torch.is_grad_enabled():  # not when the loss on valid is measured
                batches = seen.setdefault(watched.encoding, [{k: v.clone() for k, v in model.state_dict().items()}])
                batches.append((ids.clone(), targets.clone()))
            return forward(model, ids, targets)

        train.Decoder.forward = watched
        try:
            work = self.fresh("matched")
            for watched.encoding in ("full", "partial-0.25", "nope"):
                self.train(work, watched.encoding, steps=3)
        finally:
            train.Decoder.forward = forward
        weights, *batches = seen["full"]
        self.assertEqual(len(batches), 3)
        self.assertFalse(torch.equal(batches[0][0], batches[1][0]))
        for other in ("partial-0.25", "nope"):
            for name, value in weights.items():
                self.assertTrue(torch.equal(value, seen[other][0][name]), name)
            for mine, theirs in zip(batches, seen[other][1:], strict=True):
                self.assertTrue(torch.equal(mine[0], theirs[0]) and torch.equal(mine[1], theirs[1]))
        ends = [torch.load(work / f"{e}-seed{SEED}" / "state.pt", weights_only=True)["model"]["embed.weight"] for e in seen]
        self.assertFalse(torch.equal(ends[0], ends[1]) or torch.equal(ends[0], ends[2]))  # the encoding did reach the training

    def test_odd_partial_factors_are_refused(self):
        for factor in (0.1, 1 / 32, 3 / 32, 0.0):
            with self.assertRaises(ValueError):
                positions.partial(factor)

    def test_other_books_are_refused(self):
        changed = self.folder / "changed"
        changed.mkdir()
        for file in ("train.txt", "valid.txt", "test.txt", "manifest.tsv"):
            shutil.copy(self.folder / file, changed)
        with (changed / "valid.txt").open("a") as f:
            f.write("x")
        with self.assertRaises(SystemExit):
            corpus.prepare(changed, changed / "work", changed / "manifest.tsv")
        corpus.prepare(changed, changed / "work", changed / "manifest.tsv", other_text=True)

    # --- what is exported

    def lively(self, work, encoding):
        """A run whose attention looks somewhere, with weights that bfloat16 changes: after four steps a model is still next to
        uniform, and would come to nearly the same loss with any encoding."""
        run = self.train(work, encoding, steps=1)
        state = torch.load(run / "state.pt", weights_only=True)
        for name, value in state["model"].items():
            value *= {"qkv.weight": 3.0, "embed.weight": 12.0}.get(".".join(name.split(".")[-2:]), 1.0)
        torch.save(state, run / "state.pt")
        return run

    def reference(self, out, run):
        """A decoder with exactly the weights of the exported run."""
        model, facts = train.load(run)
        model.load_state_dict({name: value.float() for name, value in evaluate.shipped(model).items()})
        return model, facts

    def audited(self, out, text):
        path = out.with_name(out.name + ".h5")
        common = ["--context", str(CONTEXT), "-o", path, "--device", "cpu", "--threads", "1", "--quiet", "--probe", "frequency_norm"]
        subprocess.run([PROGRAM, "audit", out, text, *common], check=True)
        report = subprocess.run([PROGRAM, "report", path, "--format", "json"], check=True, capture_output=True, text=True)
        return json.loads(report.stdout)

    def test_every_encoding_is_what_ropescope_makes_of_it(self):
        work, text = self.fresh("encodings"), self.folder / "test.txt"
        ids = np.array(corpus.tokenizer(work).encode(text.read_text(), add_special_tokens=False).ids)
        windows = corpus.side_by_side(ids, CONTEXT)
        for name, encoding in positions.ENCODINGS.items():
            with self.subTest(encoding=name):
                run, out = self.lively(work, name), self.folder / "models" / name
                export.export(run, out, "0000000")
                checked = subprocess.run([PROGRAM, "check", out], check=True, capture_output=True, text=True)
                self.assertNotIn("warning", checked.stdout + checked.stderr)
                self.assertEqual(sorted(p.name for p in out.parent.iterdir() if ".tmp." in p.name), [])
                found = self.audited(out, text)
                self.assertEqual(found["ids_sha256"], hashlib.sha256(windows.astype("<i4").tobytes()).hexdigest())
                model, _ = self.reference(out, run)
                # 1e-5: the bar of docs/accuracy.md for a mean loss, float32 on both sides
                wanted = train.mean_loss(model, ids)
                self.assertAlmostEqual(found["mean_nll"], wanted, delta=1e-5)
                nearest = self.tell_apart(model, name, ids, found["mean_nll"])
                error = self.same_in_transformers(out, model, windows[:2])
                print(f"{name}: loss {wanted:.6f}, ours differs by {abs(found['mean_nll'] - wanted):.1e}, the nearest other encoding by "
                      f"{nearest:.1e}; logits of transformers by {error:.1e}")

    def tell_apart(self, model, name, ids, loss):
        """The comparison above could not hold for another encoding: with the same weights each comes to another loss."""
        differences = {}
        for other, encoding in positions.ENCODINGS.items():
            wrong = Decoder(self.shape, encoding)
            wrong.load_state_dict(model.state_dict())
            differences[other] = abs(train.mean_loss(wrong, ids) - loss)
        del differences[name]
        self.assertGreater(min(differences.values()), 1e-4, str(differences))
        return min(differences.values())

    def same_in_transformers(self, out, model, windows):
        if importlib.util.find_spec("transformers") is None:
            return float("nan")
        import transformers

        transformers.utils.logging.disable_progress_bar()
        stock = transformers.AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32).eval()
        ids = torch.from_numpy(windows.astype(np.int64))
        with torch.no_grad():
            wanted, found = stock(input_ids=ids).logits, model.logits(ids)
        # 1e-5 of the largest logit: transformers rounds its frequencies to float32, which turns position 63 by up to 4e-6
        error = float((found - wanted).abs().max() / wanted.abs().max())
        self.assertLess(error, 1e-5)
        tokenizer = transformers.AutoTokenizer.from_pretrained(out)
        text = "The captain said:\n  never again, and went. It's 1893\u2014\u00e9t\u00e9."
        self.assertEqual(tokenizer(text)["input_ids"], corpus.tokenizer(self.work).encode(text).ids)
        self.assertEqual(tokenizer.eos_token_id, stock.config.eos_token_id)
        return error

    def test_an_export_replaces_nothing_unasked(self):
        run, out = self.train(self.fresh("kept"), "nope", steps=1), self.folder / "taken"
        out.mkdir()
        (out / "mine").write_text("mine")
        with self.assertRaises(SystemExit):
            export.export(run, out, "0000000")
        self.assertEqual([p.name for p in out.iterdir()], ["mine"])
        export.export(run, out, "0000000", force=True)
        self.assertTrue((out / "model.safetensors").is_file() and not (out / "mine").exists())
        self.assertIn("0000000", (out / "README.md").read_text())
        self.assertEqual(len((out / "log.csv").read_text().splitlines()), 2)

    def test_losses_are_those_of_the_rounded_weights_and_are_kept(self):
        run = self.lively(self.fresh("losses"), "full")
        found = evaluate.evaluate(run)
        rounded, _ = self.reference(None, run)
        exact, _ = train.load(run)
        ids = corpus.load(run.parent, "test")
        self.assertEqual(found["test"], train.mean_loss(rounded, ids))
        self.assertNotEqual(found["test"], train.mean_loss(exact, ids))
        (run / "loss.json").write_text(json.dumps(found | {"test": 1.0}))
        self.assertEqual(evaluate.evaluate(run)["test"], 1.0)  # not computed again for the same weights
        (run / "loss.json").write_text(json.dumps(found | {"test": 1.0, "weights_sha256": "of others"}))
        self.assertEqual(evaluate.evaluate(run), found)

    def test_statistics_are_an_audit_of_the_exported_model(self):
        run, out = self.train(self.fresh("statistics"), "partial-0.25", steps=1), self.folder / "statistics.h5"
        statistics_file.write(run, out, pathlib.Path(PROGRAM), models=self.folder / "scratch")
        report = subprocess.run([PROGRAM, "report", out, "--format", "json"], check=True, capture_output=True, text=True)
        found = json.loads(report.stdout)
        self.assertEqual((found["model_name"], found["context"]), ("partial-rope-0.25", CONTEXT))
        ids = corpus.tokenizer(run.parent).encode(trigram.SAMPLE.read_text(), add_special_tokens=False).ids
        self.assertEqual(found["sequences"], len(ids) // (CONTEXT - 1))
        self.assertFalse(found["model_path"].startswith("/"))

    def test_the_entry_runs_what_it_is_told_to(self):
        entry = str(ROOT / "data" / "lab" / "lab")
        shown = subprocess.run([entry, "--help"], env=dict(os.environ, LAB_PYTHON=sys.executable), capture_output=True, text=True, check=True)
        self.assertIn("statistics", shown.stdout)
        refused = subprocess.run([entry, "--help"], env=dict(os.environ, LAB_PYTHON="no-such-python"), capture_output=True, text=True)
        self.assertEqual(refused.returncode, 2)
        self.assertIn("no-such-python", refused.stderr)


class ToyExperiment(unittest.TestCase):
    SMALL = toy.Toy(tuples=24, width=16, subset=8, positions=256, batch=16, steps=400, rate=1e-2, removed=4, judged=8)

    def test_a_rotated_product_depends_on_the_distance(self):
        """The rotation against its definition: components j and j + width / 2 turn by m base^(-2 j / width)."""
        small, at = self.SMALL, torch.tensor([0, 1, 17])
        x = torch.randn(3, small.width, generator=torch.Generator().manual_seed(1))
        got = toy.rotate(small, x, at)
        for row, m in enumerate(at.tolist()):
            for j in range(8):
                angle = m * 10000.0 ** (-2 * j / 16)
                a, b = x[row, j].item(), x[row, j + 8].item()
                self.assertAlmostEqual(got[row, j].item(), a * np.cos(angle) - b * np.sin(angle), places=4)
                self.assertAlmostEqual(got[row, j + 8].item(), a * np.sin(angle) + b * np.cos(angle), places=4)

    def test_the_loss_is_that_of_equation_3(self):
        small = self.SMALL
        random = torch.Generator().manual_seed(2)
        q, k, v = (torch.randn(small.tuples, small.width, generator=random) for _ in range(3))
        present, at, asked = toy.draw(small, random)
        self.assertTrue(all(len(set(row.tolist())) == small.subset for row in (*present, *at)))
        total = 0.0
        for b in range(small.batch):
            self.assertIn(asked[b], present[b])
            logits = np.array([float(q[asked[b]] @ k[i]) for i in present[b]]) / 4
            weights = np.exp(logits - logits.max())
            a = (weights / weights.sum()) @ v[present[b]].double().numpy()
            scores = v.double().numpy() @ a
            total += np.log(np.exp(scores - scores.max()).sum()) + scores.max() - scores[asked[b]]
        self.assertAlmostEqual(toy.loss(small, q, k, v, False, (present, at, asked)).item(), total / small.batch, places=4)

    def test_fast_dimensions_die_where_the_keys_are_rotated(self):
        rows = toy.measure(self.SMALL, seed=1)
        value = {(r["arm"], r["quantity"], r["dimension"]): float(r["value"]) for r in rows}
        slow, fast = (np.mean([value["RoPE on the keys", "mean |q|", d] for d in end]) for end in (range(12, 16), range(4)))
        self.assertGreater(slow, 1.5 * fast)
        self.assertLess(value["RoPE on the keys", "loss without the first", 4], value["RoPE on the keys", "loss without the last", 4])
        plain = [np.mean([value["no RoPE", "mean |q|", d] for d in end]) for end in (range(12, 16), range(4))]
        self.assertLess(max(plain) / min(plain), 1.5)
        for arm in toy.ARMS:
            self.assertEqual(value[arm, "loss without the first", 16], value[arm, "loss without the last", 16])
        self.assertIn("<svg", toy.figure(rows))


class Trigram(unittest.TestCase):
    """Against the formula written out with dictionaries (Chen and Goodman 1999, equations 26 and 27), and against 1."""

    V = 11

    @classmethod
    def setUpClass(cls):
        draw = np.random.default_rng(5)
        # skewed, so that there are tokens, pairs and triples of every count, and one token that never comes
        cls.ids = np.minimum(draw.geometric(0.25, 4000) - 1, cls.V - 2).astype(np.uint16)
        cls.model = trigram.Trigram(cls.ids, cls.V)

    def test_probabilities_sum_to_one(self):
        tokens = np.arange(self.V)
        for model, size in ((self.model, self.V), (trigram.Trigram(self.ids[:7], self.V), self.V)):
            for a in range(size):
                for b in range(size):
                    p = model.after_two(np.full(size, a), np.full(size, b), tokens)
                    self.assertAlmostEqual(p.sum(), 1.0, places=12)
                    self.assertGreater(p.min(), 0)
                self.assertAlmostEqual(model.after_one(np.full(size, a), tokens).sum(), 1.0, places=12)
            self.assertAlmostEqual(model.alone(tokens).sum(), 1.0, places=12)

    def interpolate(self, grams, history, token, lower):
        """grams: {gram: count}, all of one length."""
        n = [sum(1 for c in grams.values() if c == i) for i in range(5)]
        if 0 in n[1:]:
            d = [0, 0.5, 0.75, 0.75]
        else:
            y = n[1] / (n[1] + 2 * n[2])
            d = [0, 1 - 2 * y * n[2] / n[1], 2 - 3 * y * n[3] / n[2], 3 - 4 * y * n[4] / n[3]]
        after = {g: c for g, c in grams.items() if g[:-1] == history}
        total = sum(after.values())
        if total == 0:
            return lower
        count = after.get(history + (token,), 0)
        freed = sum(d[min(c, 3)] for c in after.values())
        return (count - d[min(count, 3)] + freed * lower) / total

    def test_probabilities_are_those_of_the_formula(self):
        ids = [int(x) for x in self.ids]
        three, two = {}, {}
        for gram in zip(ids, ids[1:], ids[2:]):
            three[gram] = three.get(gram, 0) + 1
        for gram in zip(ids, ids[1:]):
            two[gram] = two.get(gram, 0) + 1
        middle, one = {}, {}
        for gram in three:
            middle[gram[1:]] = middle.get(gram[1:], 0) + 1
        for gram in two:
            one[gram[1:]] = one.get(gram[1:], 0) + 1
        draw = np.random.default_rng(6)
        windows = draw.integers(0, self.V, (4, 30))
        windows[0] = self.ids[:30]
        for order in (2, 3):
            wanted = []
            for w in windows.tolist():
                losses = []
                for t in range(1, len(w)):
                    lower = self.interpolate(one, (), w[t], 1 / self.V)
                    if t == 1:
                        p = (ids.count(w[1]) + 1) / (len(ids) + self.V)
                    elif t == 2 or order == 2:
                        p = self.interpolate(two, (w[t - 1],), w[t], lower)
                    else:
                        p = self.interpolate(three, (w[t - 2], w[t - 1]), w[t], self.interpolate(middle, (w[t - 1],), w[t], lower))
                    losses.append(-np.log(p))
                wanted.append(np.mean(losses))
            np.testing.assert_allclose(self.model.losses(windows, order), wanted, rtol=1e-12)

    def test_the_kept_figures_are_about_the_sample_text(self):
        kept = json.loads(trigram.KEPT.read_text())
        self.assertEqual(kept["sample"]["sha256"], hashlib.sha256(trigram.SAMPLE.read_bytes()).hexdigest())
        self.assertEqual(kept["corpus"]["manifest_sha256"], hashlib.sha256(corpus.MANIFEST.read_bytes()).hexdigest())
        self.assertAlmostEqual(kept["sample"]["loss"], np.mean(kept["sample"]["window_losses"]), places=5)


if __name__ == "__main__":
    torch.set_num_threads(1)
    unittest.main()
