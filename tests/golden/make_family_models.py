#!/usr/bin/env python3
"""Makes families/: tiny random Hugging Face models of every supported family, and what transformers computes with them.

    python3 tests/golden/make_family_models.py [NAME...]      (needs the packages of requirements.txt)

Each folder holds config.json, safetensors, ids.txt, expected.bin (little-endian float64 and float32) and expected.tsv: one array a line,
"name, dtype, sizes separated by commas, byte offset". Expected values come from transformers' own code run in float64, attention
"eager". Everything is seeded: the same packages give the same files. A float32 run is made beside it and its distance printed:
that is how far two right implementations are apart.
"""

import json
import pathlib
import shutil
import sys
import zlib

import numpy as np
import torch
import transformers
from safetensors.torch import save_file

import reference

HERE = pathlib.Path(__file__).resolve().parent / "families"
SEQUENCES, POSITIONS, CONTEXT = 2, 96, 256
WATCHED = [0, 1, 37, 95]  # positions whose rotated q and k are kept
TAIL = 4  # last positions of a sequence whose logits are kept for an edited model

LLAMA = dict(hidden_size=32, intermediate_size=44, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, vocab_size=61,
             max_position_embeddings=CONTEXT, rms_norm_eps=1e-5, tie_word_embeddings=False, bos_token_id=1, eos_token_id=2)
PHI3 = LLAMA | dict(num_attention_heads=2, num_key_value_heads=1, vocab_size=63, pad_token_id=0, sliding_window=None)
GEMMA3 = LLAMA | dict(head_dim=16, num_attention_heads=4, num_key_value_heads=1, num_hidden_layers=3, vocab_size=64, tie_word_embeddings=True,
                      rms_norm_eps=1e-6, query_pre_attn_scalar=23, sliding_window=16, hidden_activation="gelu_pytorch_tanh", pad_token_id=0,
                      layer_types=["sliding_attention", "full_attention", "sliding_attention"],
                      rope_parameters={"full_attention": {"rope_type": "default", "rope_theta": 1e6},
                                       "sliding_attention": {"rope_type": "default", "rope_theta": 1e4}})
NEOX = dict(hidden_size=32, intermediate_size=56, num_hidden_layers=2, num_attention_heads=2, vocab_size=67, max_position_embeddings=CONTEXT,
            layer_norm_eps=1e-5, tie_word_embeddings=False, hidden_act="gelu", bos_token_id=1, eos_token_id=2)


def rope(kind, theta=1e4, **more):
    return {"rope_parameters": {"rope_type": kind, "rope_theta": theta, **more}}


# name: (configuration class, its arguments, how it is stored)
MODELS = {
    "llama_gqa": ("LlamaConfig", LLAMA, {}),
    "llama_tied_bias": ("LlamaConfig", LLAMA | dict(vocab_size=97, num_key_value_heads=4, head_dim=12, tie_word_embeddings=True, attention_bias=True, mlp_bias=True), {}),
    "llama_odd_sizes": ("LlamaConfig", LLAMA | dict(hidden_size=39, intermediate_size=53, num_attention_heads=3, num_key_value_heads=1, head_dim=24, vocab_size=73), {}),
    "llama_llama3": ("LlamaConfig", LLAMA | dict(head_dim=16) | rope("llama3", 1e4, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64), {}),
    "llama_linear": ("LlamaConfig", LLAMA | rope("linear", 5e4, factor=4.0), {}),
    "llama_proportional": ("LlamaConfig", LLAMA | dict(head_dim=16) | rope("proportional", 1e4, partial_rotary_factor=0.625), {}),
    "llama_old_config": ("LlamaConfig", LLAMA | rope("linear", 2e4, factor=2.0), {"old_config": True}),
    "llama_f16": ("LlamaConfig", LLAMA, {"dtype": torch.float16}),
    "llama_bf16_sharded": ("LlamaConfig", LLAMA, {"dtype": torch.bfloat16, "shards": 3}),
    "phi3_full": ("Phi3Config", PHI3, {}),
    "phi3_partial_quarter": ("Phi3Config", PHI3 | dict(sliding_window=20) | rope("default", 1e4, partial_rotary_factor=0.25), {"old_config": True}),
    "phi3_partial_three_quarters": ("Phi3Config", PHI3 | rope("default", 1e4, partial_rotary_factor=0.75), {}),
    "phi3_longrope": ("Phi3Config", PHI3 | dict(original_max_position_embeddings=64) | rope("longrope", 1e4, partial_rotary_factor=0.75,
                      short_factor=[1.0, 1.1, 1.2, 1.3, 1.4, 1.5], long_factor=[1.0, 1.5, 2.0, 3.0, 4.0, 5.0]), {}),
    "smollm3_nope_layers": ("SmolLM3Config", LLAMA | dict(num_hidden_layers=3, no_rope_layers=[1, 0, 1], tie_word_embeddings=True, pad_token_id=0, use_sliding_window=False)
                            | rope("default", 2e6), {}),
    "smollm3_window": ("SmolLM3Config", LLAMA | dict(vocab_size=59, num_hidden_layers=2, no_rope_layer_interval=2, pad_token_id=0, use_sliding_window=True, sliding_window=24)
                       | rope("default", 2e6), {}),
    "gemma3_text": ("Gemma3TextConfig", GEMMA3, {}),
    "gemma3_scaled_capped": ("Gemma3TextConfig", GEMMA3 | dict(attn_logit_softcapping=8.0, final_logit_softcapping=5.0,
                             rope_parameters={"full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
                                              "sliding_attention": {"rope_type": "default", "rope_theta": 1e4}}), {"old_config": True}),
    "gpt_neox_parallel": ("GPTNeoXConfig", NEOX | dict(use_parallel_residual=True) | rope("default", 1e4, partial_rotary_factor=0.25), {}),
    "gpt_neox_sequential": ("GPTNeoXConfig", NEOX | dict(use_parallel_residual=False) | rope("default", 1e4, partial_rotary_factor=0.5), {"old_config": True}),
    # int(12 * 0.25) = 3: transformers makes two frequencies, base^0 and base^(-2/3), and turns four components
    "gpt_neox_odd_rotary": ("GPTNeoXConfig", NEOX | dict(hidden_size=24) | rope("default", 1e4, partial_rotary_factor=0.25), {}),
}
NOISE = ("transformers_version", "_name_or_path", "_sliding_window_pattern", "chunk_size_feed_forward", "id2label", "label2id", "is_decoder",
         "is_encoder_decoder", "output_attentions", "output_hidden_states", "return_dict", "initializer_range")

# Edits that the C test repeats with rs_edit: kind, layer (-1: all), query heads ([]: all), pairs ([]: all), value, of what.
EDITS = {
    "unrotate_all": ("theta", -1, [], [], 0.0, "qk"),
    "unrotate_one_head": ("theta", 0, [1], [], 0.0, "qk"),
    "zero_pair_of_queries": ("scale", 1, [], [1], 0.0, "q"),
    "zero_pair_of_one_heads_key": ("scale", 0, [0], [0, 2], 0.0, "k"),
    "scale_pair": ("scale", -1, [0, 1], [0], 0.5, "qk"),
    "other_theta": ("theta", 0, [1], [0], 0.123, "qk"),
}


def fill(model, seed):
    """Random weights with which heads look somewhere: attention logits of about 2.5, logits of about 2."""
    g = torch.Generator().manual_seed(seed)
    width = model.config.hidden_size

    def normal(p, std, mean=0.0):
        p.data = mean + std * torch.randn(p.shape, generator=g)

    for name, p in model.named_parameters():
        if "embed" in name and "out" not in name:
            normal(p, 2.0 / width**0.5 if model.config.tie_word_embeddings else 1.0)
        elif p.ndim == 1:
            gemma = "Gemma" in type(model).__name__   # its norms are 1 + w; heads with a q/k norm need more than 1 to look somewhere
            normal(p, 0.25, 0.8 if "q_norm" in name or "k_norm" in name else 0.0 if gemma or name.endswith("bias") else 1.0)
        elif any(part in name for part in ("q_proj", "k_proj", "qkv", "query_key_value")):
            normal(p, (2.5 / width) ** 0.5)
        elif "lm_head" in name or "embed_out" in name:
            normal(p, 2.0 / width**0.5)
        else:
            normal(p, 0.7 / p.shape[-1] ** 0.5)


def old_config(config):
    """The same configuration with the fields of transformers 4."""
    r = config.pop("rope_parameters")
    config["torch_dtype"] = config.pop("dtype")
    if config["model_type"] == "gpt_neox":
        return config | {"rotary_emb_base": r["rope_theta"], "rotary_pct": r["partial_rotary_factor"]}
    if config["model_type"] == "gemma3_text":
        full = r["full_attention"]
        del config["layer_types"]
        return config | {"rope_theta": full["rope_theta"], "rope_local_base_freq": r["sliding_attention"]["rope_theta"], "sliding_window_pattern": 2,
                         "rope_scaling": {"rope_type": full["rope_type"], "factor": full["factor"]}}
    if "partial_rotary_factor" in r:
        config["partial_rotary_factor"] = r["partial_rotary_factor"]
    scaled = r["rope_type"] != "default"
    return config | {"rope_theta": r["rope_theta"], "rope_scaling": {"type": r["rope_type"], "factor": r["factor"]} if scaled else None}


def save(model, folder, how):
    dtype = how.get("dtype", torch.float32)
    tensors = {name: p.detach().to(dtype).contiguous() for name, p in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        tensors = {name: t for name, t in tensors.items() if name not in ("lm_head.weight", "embed_out.weight")}
    config = json.loads(model.config.to_json_string(use_diff=False))
    config["dtype"] = str(dtype).removeprefix("torch.")
    keep = {k: v for k, v in config.items() if v is not None and k not in NOISE} | {"architectures": [type(model).__name__]}
    if how.get("old_config"):
        keep = old_config(keep)
    (folder / "config.json").write_text(json.dumps(keep, indent=1, sort_keys=True) + "\n")
    shards = how.get("shards", 1)
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names = sorted(tensors)
    place = {name: f"model-{1 + i * shards // len(names):05d}-of-{shards:05d}.safetensors" for i, name in enumerate(names)}
    for shard in sorted(set(place.values())):
        save_file({n: tensors[n] for n in names if place[n] == shard}, folder / shard, metadata={"format": "pt"})
    size = sum(t.numel() * t.element_size() for t in tensors.values())
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {"total_size": size}, "weight_map": place}, indent=1) + "\n")


def editor(model, spec, head_dim):
    """EDITS entry -> function for reference.Recorder: what our edits mean, written as dense rotations of every head's q and k."""
    kind, only, heads, pairs, value, of = spec

    def edit(layer, q, k, rot_q, rot_k):
        if only not in (-1, layer):
            return rot_q, rot_k
        inv, factor = reference.inverse_frequencies(model, layer)
        lo, hi, theta = reference.pairs(head_dim, inv)
        rotated = inv is not None
        positions = torch.arange(q.shape[2], dtype=torch.float64)
        rot_q, rot_k = rot_q.clone(), rot_k.clone()
        for h in heads or range(q.shape[1]):
            for i in pairs or range(len(lo)):
                a, b = int(lo[i]), int(hi[i])
                for x, rot, name in ((q, rot_q, "q"), (k, rot_k, "k")):
                    if kind == "scale" and name in of:
                        rot[:, h, :, [a, b]] = rot[:, h, :, [a, b]] * value
                    if kind == "theta" and (rotated or value):
                        amplitude = factor if theta[i] else 1.0
                        cos, sin = torch.cos(positions * value) * amplitude, torch.sin(positions * value) * amplitude
                        u, v = x[:, h, :, a], x[:, h, :, b]
                        rot[:, h, :, a], rot[:, h, :, b] = u * cos - v * sin, v * cos + u * sin
        return rot_q, rot_k

    return edit


def expected(model, ids):
    logits, layers = reference.run(model, ids)
    token_nll = reference.nll(logits, ids)
    out = {"logits": logits.astype(np.float32), "token_nll": token_nll, "mean_nll": np.array([np.nanmean(token_nll)])}
    for name in ("rot_q", "rot_k"):  # [layer, watched position, head, component] of the last sequence
        out[name] = np.stack([layer[name][-1].transpose(1, 0, 2)[WATCHED] for layer in layers]).astype(np.float32)
    out |= {name: value.astype(np.float64) for name, value in reference.statistics(model, layers).items()}
    for name, spec in EDITS.items():
        changed, _ = reference.run(model, ids, editor(model, spec, layers[0]["q"].shape[-1]))
        out[f"edit/{name}"] = changed[:, -TAIL:].astype(np.float32)
    return logits, layers, out


def describe(name, logits, layers, arrays, single):
    edits = min(reference.error(arrays[f"edit/{e}"], arrays["logits"][:, -TAIL:]) for e in EDITS)
    entropy = arrays["attention_pattern/entropy"]
    return (f"{name:30} loss {arrays['mean_nll'][0]:.4f}  entropy {entropy.min():.2f}..{entropy.max():.2f}  float32 run differs by "
            f"{reference.error(single, logits):.1e}  smallest effect of an edit {edits:.1e}")


def make(name, seed):
    cls, arguments, how = MODELS[name]
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    config = getattr(transformers, cls)(**arguments)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    fill(model, seed)
    save(model, folder, how)
    ids = np.random.default_rng(seed).integers(0, config.vocab_size, (SEQUENCES, POSITIONS))
    (folder / "ids.txt").write_text("".join(" ".join(map(str, row)) + "\n" for row in ids))
    table = reference.inverse_frequencies(model, 0)[0]
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    assert (table == reference.inverse_frequencies(model, 0)[0]).all(), "config.json says something else than was asked for"
    single, _ = reference.run(model, ids)
    with reference.float64_everywhere():
        double = reference.in_float64(model)
        logits, layers, arrays = expected(double, ids)
        assert logits.dtype == np.float64 and layers[0]["pattern"].dtype == np.float64
    reference.write_arrays(folder / "expected", arrays)
    print(describe(name, logits, layers, arrays, single), flush=True)


def main():
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    for name in sys.argv[1:] or MODELS:
        make(name, zlib.crc32(name.encode()))


if __name__ == "__main__":
    main()
