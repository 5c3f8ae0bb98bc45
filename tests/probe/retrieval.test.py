"""Runs of generated tasks on the shipped models, from the command line: what `audit --task` records against numpy on the patterns, the
logits and the tokens that `dump` writes of the same task; the same on every device that is there."""
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
MODELS = os.path.join(SOURCE, "data", "samples", "models")
TASKS = [["key-value", "--task-items", "4"], ["needle", "--task-items", "2"], ["induction"], ["copy", "--task-items", "12"]]
CONTEXT, SEQUENCES = 96, 5
TOLERANCE = 1e-6  # results are stored in float32; sums over at most 96 float32 weights


def run(*arguments, code=0):
    done = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == code, f"{arguments}: {done.returncode}: {done.stderr}"
    return done.stderr


def measure(model, task, folder, seed, *more):
    common = [os.path.join(MODELS, model), "--task", *task, "--context", str(CONTEXT), "--sequences", str(SEQUENCES), "--seed", str(seed),
              "--quiet", "--force", "--device", "cpu", *more]
    out, acts = os.path.join(folder, "run.h5"), os.path.join(folder, "acts.h5")
    run("audit", *common, "-o", out)
    run("dump", *common, "-o", acts, "--site", "blocks.*.attn.hook_pattern", "--site", "logits")
    return h5py.File(out), h5py.File(acts)


def check_answers(found, acts):
    """Losses and first places of the logits, and what of them is the answer's."""
    logits, tokens = acts["logits"][()].astype(np.float64), acts["tokens"][()].astype(int)
    first = np.argmax(logits[:, :-1], -1) == tokens[:, 1:]
    np.testing.assert_array_equal(found["loss/token_top1"][:, 1:], first)
    assert np.isnan(found["loss/token_top1"][:, 0]).all()
    shifted = logits[:, :-1] - logits[:, :-1].max(-1, keepdims=True)
    chosen = np.take_along_axis(shifted, tokens[:, 1:, None], -1)[..., 0]
    nll = np.log(np.exp(shifted).sum(-1)) - chosen
    spans, own = found["task/answer"][()].astype(int), []
    for s, (a, b) in enumerate(spans):
        own.append((nll[s, a - 1:b - 1].mean(), first[s, a - 1:b - 1].mean(), first[s, a - 1:b - 1].all()))
    own = np.array(own, float)
    for i, (name, attribute) in enumerate([("nll", "answer_nll"), ("top1", "answer_accuracy"), ("whole", "answers_whole")]):
        np.testing.assert_allclose(found[f"task/answer_{name}"][()], own[:, i], atol=1e-5)  # float32 logits of some 10
        np.testing.assert_allclose(found.attrs[attribute], own[:, i].mean(), atol=1e-5)
    return own[:, 1].mean()


def check_spans(found, acts, task):
    tokens = acts["tokens"][()].astype(int)
    for s in range(SEQUENCES):
        context, gold, question, answer = (found[f"task/{x}"][s].astype(int) for x in ("context", "gold", "question", "answer"))
        assert context[1] == question[0] and question[1] == answer[0] and answer[1] == CONTEXT
        asked = list(tokens[s, answer[0]:])
        item = list(tokens[s, gold[0]:gold[1]])
        assert any(item[i:i + len(asked)] == asked for i in range(len(item))), "the item holds the answer"
    return found.attrs["task"] == task[0]


def check_heads(found, acts):
    tokens = acts["tokens"][()].astype(int)
    layers = found["retrieval/context"].shape[0]
    some = 0
    for layer in range(layers):
        P = acts[f"blocks.{layer}.attn.hook_pattern"][()].astype(np.float64)
        P[..., 0] = 0
        H = P.shape[1]
        want = np.zeros((SEQUENCES, 3, H))
        for s in range(SEQUENCES):
            context, gold, question, answer = (found[f"task/{x}"][s].astype(int) for x in ("context", "gold", "question", "answer"))
            rows = P[s, :, question[0]:answer[1]]
            want[s, 0] = rows[..., slice(*context)].sum(-1).mean(-1)
            want[s, 1] = rows[..., slice(*gold)].sum(-1).mean(-1)
            best = P[s, :, answer[0] - 1:answer[1] - 1].argmax(-1)
            want[s, 2] = ((best >= gold[0]) & (best < gold[1]) & (tokens[s][best] == tokens[s, answer[0]:answer[1]])).mean(-1)
        for i, name in enumerate(["context", "gold", "copy"]):
            np.testing.assert_allclose(found[f"retrieval/{name}"][layer, :H], want[:, i].mean(0), atol=TOLERANCE, err_msg=name)
        halves = np.abs(want[0::2].mean(0) - want[1::2].mean(0)).max(0)
        np.testing.assert_allclose(found["retrieval/split_half"][layer, :H], halves, atol=TOLERANCE)
        some += (want[:, 2] > 0).sum()
    return some


def check_emulated(model, folder, found):
    """The CUDA backend, on the emulated device where it was built."""
    plugin = os.path.join(os.environ["RS_BUILD_DIR"], "tests", "ropescope_cuda_emulated.so")
    if not os.path.exists(plugin):
        return
    out = os.path.join(folder, "card.h5")
    os.environ["ROPESCOPE_CUDA_PLUGIN"] = plugin
    run("audit", os.path.join(MODELS, model), "--task", "copy", "--task-items", "12", "--context", str(CONTEXT), "--sequences", str(SEQUENCES),
        "--seed", "3", "--quiet", "--device", "cuda", "--compute", "f32", "--probe", "retrieval", "-o", out)
    with h5py.File(out) as card:
        assert card.attrs["ids_sha256"] == found.attrs["ids_sha256"]
        for name in ["context", "gold"]:
            np.testing.assert_allclose(card[f"retrieval/{name}"][()], found[f"retrieval/{name}"][()], atol=1e-5)  # float32 patterns
        # Of two columns equally strong to float32 another may win: at most one token of one sequence.
        np.testing.assert_allclose(card["retrieval/copy"][()], found["retrieval/copy"][()], atol=1.01 / 8 / SEQUENCES)
        assert (card["loss/token_top1"][:, 1:] != found["loss/token_top1"][:, 1:]).sum() <= 2


def check_refusals(folder):
    model, out = os.path.join(MODELS, "nope"), os.path.join(folder, "refused.h5")
    text = os.path.join(SOURCE, "data", "samples", "text.txt")
    for words, arguments in [
            ("expected key-value", ["--task", "keys"]), ("takes the place of TEXT", [text, "--task", "copy"]),
            ("give one of them", ["--task", "copy", "--ids", text]), ("go with --task", [text, "--task-items", "3"]),
            ("--task-file", ["--task", "copy", "--task-file", text]), ("fewer items", ["--task", "key-value", "-c", "40"])]:
        assert words in run("audit", model, *arguments, "-o", out, code=2)
    assert "has none" in run("audit", model, text, "-c", "32", "-n", "1", "--probe", "retrieval", "-o", out, code=3)
    assert not os.path.exists(out)


def main():
    with tempfile.TemporaryDirectory() as folder:
        copies = 0
        for model in ["full-rope", "nope"]:
            for task in TASKS:
                found, acts = measure(model, task, folder, 3)
                with found, acts:
                    assert check_spans(found, acts, task)
                    accuracy = check_answers(found, acts)
                    copies += check_heads(found, acts)
                    print(f"{model}, {task[0]}: accuracy {accuracy:.3f}")
                    if model == "full-rope" and task[0] == "copy":
                        check_emulated(model, folder, found)
        assert copies > 0, "no head of these models copies anything: nothing was compared"
        check_refusals(folder)


main()
