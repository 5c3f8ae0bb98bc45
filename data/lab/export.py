"""A run as a directory that Hugging Face transformers and ropescope open without code of ours."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import torch
from safetensors.torch import save

import corpus
import evaluate
import train
import trigram
from decoder import INITIAL, Decoder, Shape
from positions import ENCODINGS, Encoding

CLASSES = {"llama": "LlamaForCausalLM", "phi3": "Phi3ForCausalLM", "smollm3": "SmolLM3ForCausalLM"}
FUSED = {"phi3"}  # families that keep [q; k; v] and [gate; up] as one matrix each, as decoder.py does


def tensors(model: Decoder, family: str) -> dict[str, torch.Tensor]:
    """The family's names -> bfloat16. The unembedding is the embedding and is not stored again."""
    kept = evaluate.shipped(model)
    out = {"model.embed_tokens.weight": kept["embed.weight"], "model.norm.weight": kept["norm.weight"]}
    for i in range(model.shape.layers):
        ours, theirs = f"blocks.{i}.", f"model.layers.{i}."
        out[theirs + "input_layernorm.weight"] = kept[ours + "attention_norm.weight"]
        out[theirs + "post_attention_layernorm.weight"] = kept[ours + "mlp_norm.weight"]
        out[theirs + "self_attn.o_proj.weight"] = kept[ours + "out.weight"]
        out[theirs + "mlp.down_proj.weight"] = kept[ours + "down.weight"]
        if family in FUSED:
            out[theirs + "self_attn.qkv_proj.weight"] = kept[ours + "qkv.weight"]
            out[theirs + "mlp.gate_up_proj.weight"] = kept[ours + "gate_up.weight"]
            continue
        for name, part in zip("qkv", kept[ours + "qkv.weight"].chunk(3)):
            out[f"{theirs}self_attn.{name}_proj.weight"] = part.contiguous()
        for name, part in zip(("gate", "up"), kept[ours + "gate_up.weight"].chunk(2)):
            out[f"{theirs}mlp.{name}_proj.weight"] = part.contiguous()
    return out


def config(encoding: Encoding, shape: Shape, end: int) -> dict:
    if shape.width != shape.heads * shape.head:
        raise SystemExit(f"width {shape.width} is not {shape.heads} heads x {shape.head}: not every family can say so")
    common = {
        "architectures": [CLASSES[encoding.family]],
        "model_type": encoding.family,
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.width,
        "intermediate_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads,
        "hidden_act": "silu",
        "max_position_embeddings": shape.context,
        "rms_norm_eps": shape.eps,
        "tie_word_embeddings": True,
        "attention_dropout": 0.0,
        "bos_token_id": end,
        "eos_token_id": end,
        "pad_token_id": end,
        "dtype": "bfloat16",
    }
    return common | encoding.config(shape.layers, shape.context)


def code_commit() -> str:
    """The last commit that touched this folder; says so when files differ from it."""
    here = Path(__file__).resolve().parent

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(here), *words], check=True, capture_output=True, text=True).stdout.strip()

    try:
        commit = git("log", "-1", "--format=%H", "--", ".")
        changed = git("status", "--porcelain", "--", ".")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return (commit or "unknown") + (", with changes that were not committed" if changed else "")


CARD = """---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: text-generation
---
# {title}

A decoder of {parameters:,} parameters, trained to be looked at: one of a set that differs in nothing but the positional encoding, so
that what training makes of the rotary frequencies can be compared. It completes sentences of nineteenth-century novels badly and
is of no other use. Made by `data/lab` of ropescope.

| | |
|---|---|
| positional encoding | {encoding} |
| shape | {layers} layers, {heads} heads of {head}, width {width}, SwiGLU of {hidden}, RMSNorm, tied embeddings; model_type `{family}` |
| context | {context} tokens |
| vocabulary | {vocabulary:,} tokens, byte-level BPE trained on the train split |
| training text | {books} books of Project Gutenberg, {train_tokens:,} tokens; valid {valid_books} books, test {test_books}; listed in `data/lab/corpus.tsv` |
| corpus manifest | SHA-256 {manifest} |
| steps | {steps} of {batch} windows of {context} tokens: {seen:,} tokens |
| optimiser | {recipe} |
| seed | {seed} (initial weights and order of the windows) |
| initial weights | {initial}; one draw, the same for every encoding |
| code | commit {commit} |
| weights | bfloat16 on disk |

Loss in nats per token, mean over side-by-side windows of `{end}` and {text} tokens of text, of these
weights run in float32:

| | this model | trigram | bigram |
|---|---|---|---|
{losses}

Trigram and bigram are interpolated modified Kneser-Ney models of the whole train split, scored on the same tokens; they see no
further back than the beginning of the window, as the model does. `log.csv` has the loss by step.

Every sequence begins with `{end}`; the tokenizer puts it there.

Limits: one run of one seed; {context} tokens of context; English prose of before 1930 with the views of its time. No end of a text is
ever predicted well: `{end}` was seen {books} times. Needs transformers 5 or later, which reads `rope_parameters`.

The weights are licensed under the Apache License 2.0. The books are in the public domain in the United States.
"""


def loss_rows(facts: dict, losses: dict) -> str:
    baseline = trigram.known(facts["corpus"])
    rows = []
    for split in ("valid", "test"):
        other = f"{baseline[split]['loss']:.4f} | {baseline[split]['bigram_loss']:.4f}" if baseline else "not computed for this corpus |"
        rows.append(f"| {split}, {facts['corpus'][split]['tokens']:,} tokens | {losses[split]:.4f} | {other} |")
    return "\n".join(rows)


def card(model: Decoder, facts: dict, losses: dict, commit: str) -> str:
    encoding, recipe, texts = ENCODINGS[facts["encoding"]], train.Recipe(**facts["recipe"]), facts["corpus"]
    unfinished = "" if facts["step"] == facts["steps"] else f" (unfinished: stopped at step {facts['step']} of {facts['steps']})"
    return CARD.format(
        title=f"{encoding.label}, seed {facts['seed']}{unfinished}",
        parameters=sum(p.numel() for p in model.parameters()),
        encoding=f"{encoding.label}: {encoding.words}",
        family=encoding.family,
        books=texts["train"]["books"],
        train_tokens=texts["train"]["tokens"],
        valid_books=texts["valid"]["books"],
        test_books=texts["test"]["books"],
        manifest=texts["manifest_sha256"],
        steps=facts["step"],
        seen=facts["step"] * recipe.batch * model.shape.context,
        seed=facts["seed"],
        commit=commit,
        losses=loss_rows(facts, losses),
        end=corpus.END,
        **model.shape.as_dict(),
        text=model.shape.context - 1,
        batch=recipe.batch,
        recipe=recipe.words(),
        initial=INITIAL,
    )


def write_json(path: Path, value: dict) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n")


def put_model(folder: Path, run: Path) -> None:
    model, facts = train.load(run)
    encoding = ENCODINGS[facts["encoding"]]
    write_json(folder / "config.json", config(encoding, model.shape, corpus.END_ID))
    # bytes, since save_file gives its file to nobody but the owner
    (folder / "model.safetensors").write_bytes(save(tensors(model, encoding.family), metadata={"format": "pt"}))
    shutil.copyfile(run.parent / "tokenizer.json", folder / "tokenizer.json")
    special = {f"{what}_token": corpus.END for what in ("bos", "eos", "pad")}
    write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": model.shape.context, "clean_up_tokenization_spaces": False} | special,
    )


def put_card(folder: Path, run: Path, commit: str) -> None:
    model, facts = train.load(run)
    train.write_log(folder / "log.csv", facts["log"])
    (folder / "README.md").write_text(card(model, facts, evaluate.evaluate(run), commit))


def export(run: Path, out: Path, commit: str | None = None, force: bool = False, with_card: bool = True) -> None:
    """The directory appears whole or not at all; one that is there is replaced only with force. with_card: also the model card, for
    which the losses on valid and test are computed, and the log."""
    if out.exists() and not force:
        raise SystemExit(f"{out}: exists; --force replaces it")
    out = out.absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    part, old = out.with_name(f"{out.name}.tmp.{os.getpid()}"), out.with_name(f"{out.name}.tmp.old.{os.getpid()}")
    part.mkdir()
    try:
        put_model(part, run)
        if with_card:
            put_card(part, run, commit or code_commit())
        if out.exists():
            out.rename(old)
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
