"""The shipped models from the command line: audited on the shipped text, compared with the run files kept of second seeds. Every number
that is checked is computed here with numpy from the run files, by the formula that the page prints."""
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

SOURCE, PROGRAM = os.environ["RS_SOURCE_DIR"], os.environ["RS_PROGRAM"]
SAMPLES = os.path.join(SOURCE, "data", "samples")
TEXT = os.path.join(SAMPLES, "text.txt")
PAIRS = 16
# label: (model, second seed, encoding, rotated pairs, pairs the same two components as full RoPE)
SHIPPED = {
    "full": ("full-rope", "full-rope-seed2", "full RoPE", 16, True),
    "partial": ("partial-rope-0.25", "partial-rope-0.25-seed2", "partial RoPE", 4, False),
    "p": ("p-rope-0.75", "p-rope-0.75-seed2", "p-RoPE", 12, True),
    "none": ("nope", "nope-seed2", "NoPE", 0, True),
}
T_975 = {4: 2.776}  # printed tables of Student's t


def run(*arguments, status=0):
    done = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == status, f"{arguments}: {done.returncode}, expected {status}: {done.stderr}"
    return done


def audit(model, out, context="256"):
    run("audit", os.path.join(SAMPLES, "models", model), TEXT, "--context", context, "-o", out, "--quiet")


def near(a, b, tolerance=2e-6):
    """JSON gives six to nine digits."""
    assert abs(a - b) <= tolerance * max(1.0, abs(b)), f"{a}, expected {b}"


def quantity(report, key):
    return next(q for q in report["quantities"] if q["key"] == key)


def check_variants(report):
    assert [v["label"] for v in report["variants"]] == list(SHIPPED)
    for v, (_, _, encoding, rotated, same) in zip(report["variants"], SHIPPED.values()):
        assert v["encoding"] == encoding and v["rope"]["rotated"] == rotated and v["n_compared"] == 2, v["label"]
        assert (v["aligned"] is not None) == same, f"{v['label']}: aligned {v['aligned']}"
        if same:
            # Half-split pairs (i, i + 16): the pair of the reference with these components has the same number.
            assert v["aligned"] == list(range(PAIRS)), v["label"]
        # arXiv 2603.11611: two tables of one float32 per position and rotated component.
        for context, found in zip(report["cache_contexts"], v["cache_bytes"]):
            assert found == 2 * context * 2 * rotated * 4, (v["label"], context, found)


def check_means(report, files):
    for v, label in zip(report["variants"], SHIPPED):
        for key in ("q", "k"):
            cells = [np.asarray(f[f"frequency_norm/{key}_share"], dtype=float) for f in files[label]]
            np.testing.assert_allclose(v[f"{key}_share"], np.mean(cells, axis=(0, 1, 2)), rtol=2e-5)
            np.testing.assert_allclose(np.reshape(v[f"{key}_map"], (6, PAIRS)), np.mean(cells, axis=(0, 2)), rtol=2e-5)


def check_statistics(report, files, key, value):
    x = {label: [value(f) for f in files[label]] for label in SHIPPED}
    means = {label: np.mean(x[label]) for label in SHIPPED}
    spread = np.sqrt(sum(np.sum((np.array(x[label]) - means[label]) ** 2) for label in SHIPPED) / 4)
    q = quantity(report, key)
    near(q["spread"], spread)
    assert q["degrees"] == 4
    for label, e in zip(SHIPPED, q["values"]):
        near(e["mean"], means[label])
        near(e["low"], min(x[label]))
        if label == "full":
            assert e["verdict"] == "reference"
            continue
        width = T_975[4] * spread  # two runs each: sqrt(1/2 + 1/2) = 1
        near(e["difference"], means[label] - means["full"])
        near(e["half_width"], width)
        assert e["verdict"] == ("differs" if abs(means[label] - means["full"]) > width else "within"), (key, label)


def check_loss_by_position(report, files):
    nll = {label: np.mean([np.asarray(f["loss/token_nll"]) for f in files[label]], axis=0) for label in SHIPPED}
    for label, rows in zip(SHIPPED, report["loss_differences"]):
        if label == "full":
            assert rows is None
            continue
        for first, last, difference, half_width in rows:
            d = np.mean((nll[label] - nll["full"])[:, first : last + 1], axis=1)
            near(difference, d.mean())
            t = half_width / (d.std(ddof=1) / np.sqrt(len(d)))
            # 51 sequences: t(50) is 2.009 in printed tables; the program's expansion gives 2.007.
            assert abs(t - 2.009) < 4e-3, t


def check_words(report):
    words = " ".join(f["text"] for f in report["findings"])
    for label in SHIPPED:
        assert label in words, label
    assert "±" in words
    loss = quantity(report, "loss")
    for label, e in zip(SHIPPED, loss["values"]):
        if e["verdict"] != "reference":
            said = f"{label} {'+' if e['difference'] > 0 else ''}{e['difference']:.3f} ± {e['half_width']:.3f}"
            assert said in words, f"'{said}' is not said in: {words}"
    assert any("2410.06205" in p["source"] for p in report["published"])
    assert any("2603.11611" in p["source"] for p in report["published"])


def check_refusals(folder, given):
    """What cannot be compared is shown with its reason; what is no repeat is an error."""
    other = os.path.join(folder, "context.h5")
    audit("full-rope", other, context="128")
    report = json.loads(run("report", *given, f"short={other}", "--format", "json").stdout)
    assert report["variants"][4]["n_compared"] == 0
    assert "128 tokens" in report["runs"][-1]["reason"]
    text = " ".join(run("report", *given, f"short={other}").stdout.split())  # lines break anywhere
    assert "NOT COMPARED" in text and "128 tokens" in text
    path = given[0].split("=", 1)[1]
    assert "the same weights" in run("report", f"a={path}", f"a={path}", status=2).stderr


def main():
    with tempfile.TemporaryDirectory() as folder:
        given, paths = [], {}
        for label, (model, seed, *_) in SHIPPED.items():
            first = os.path.join(folder, model + ".h5")
            audit(model, first)
            paths[label] = [first, os.path.join(SAMPLES, "runs", seed + ".h5")]
            given += [f"{label}={p}" for p in paths[label]]
        report = json.loads(run("report", *given, "--format", "json").stdout)
        files = {label: [h5py.File(p, "r") for p in ps] for label, ps in paths.items()}
        for label, pair in files.items():
            assert pair[0].attrs["ids_sha256"] == pair[1].attrs["ids_sha256"], label
        check_variants(report)
        check_means(report, files)
        check_statistics(report, files, "loss", lambda f: np.nanmean(f["loss/token_nll"]))
        check_statistics(report, files, "previous_mean", lambda f: np.mean(f["attention_pattern/previous"], dtype=float))
        check_statistics(report, files, "previous_top", lambda f: float(np.max(f["attention_pattern/previous"])))
        check_loss_by_position(report, files)
        check_words(report)
        check_refusals(folder, given)


main()
