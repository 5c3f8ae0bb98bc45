#!/usr/bin/env python3
"""Makes containers/*.gguf: some models of families/ as GGUF, with exactly the same numbers in another order.

    python3 tests/golden/make_gguf_models.py

Tensor names come from the gguf package; what llama.cpp's converters change is repeated here: rows of queries and keys permuted for
llama, the fused projection of GPT-NeoX put into the order q, k, v, llama3 scaling as a tensor of divisors. Expected values are those
of the families.
"""

import json
import math
import pathlib

import gguf
import numpy as np
from safetensors.torch import load_file

HERE = pathlib.Path(__file__).resolve().parent
ARCHES = {"llama": gguf.MODEL_ARCH.LLAMA, "phi3": gguf.MODEL_ARCH.PHI3, "gpt_neox": gguf.MODEL_ARCH.GPTNEOX}
NAMES = ["llama_f16", "llama_tied_bias", "llama_llama3", "llama_linear", "phi3_partial_three_quarters", "phi3_longrope", "gpt_neox_parallel", "gpt_neox_sequential"]


def permute(x, heads):
    """Row h * d/2 + j of a head becomes row 2 j + h: pairs that stood half a head apart stand side by side."""
    return x.reshape(heads, 2, x.shape[0] // heads // 2, *x.shape[1:]).swapaxes(1, 2).reshape(x.shape)


def by_kind(x, heads):
    """[heads, (q, k, v), d] rows -> all q, all k, all v."""
    return x.reshape(heads, 3, x.shape[0] // heads // 3, *x.shape[1:]).swapaxes(0, 1).reshape(x.shape)


def convert(name, x, config):
    heads = config["num_attention_heads"]
    if config["model_type"] == "llama" and ".q_proj." in name:
        return permute(x, heads)
    if config["model_type"] == "llama" and ".k_proj." in name:
        return permute(x, config["num_key_value_heads"])
    if "query_key_value" in name:
        return by_kind(x, heads)
    return x


def llama3_divisors(rope, head_dim):
    out = []
    for i in range(head_dim // 2):
        wavelength = 2 * math.pi * rope["rope_theta"] ** (2 * i / head_dim)
        low, high = rope["original_max_position_embeddings"] / rope["low_freq_factor"], rope["original_max_position_embeddings"] / rope["high_freq_factor"]
        smooth = (rope["original_max_position_embeddings"] / wavelength - rope["low_freq_factor"]) / (rope["high_freq_factor"] - rope["low_freq_factor"])
        out.append(1.0 if wavelength < high else rope["factor"] if wavelength > low else 1 / ((1 - smooth) / rope["factor"] + smooth))
    return np.array(out, dtype=np.float32)


def metadata(w, config):
    heads, kv = config["num_attention_heads"], config.get("num_key_value_heads", config["num_attention_heads"])
    head_dim = config.get("head_dim") or config["hidden_size"] // heads
    rope = config.get("rope_parameters") or {"rope_theta": config["rotary_emb_base"], "partial_rotary_factor": config["rotary_pct"], "rope_type": "default"}
    w.add_context_length(config["max_position_embeddings"])
    w.add_embedding_length(config["hidden_size"])
    w.add_block_count(config["num_hidden_layers"])
    w.add_feed_forward_length(config["intermediate_size"])
    w.add_head_count(heads)
    if config["model_type"] == "gpt_neox":
        w.add_parallel_residual(config["use_parallel_residual"])
        w.add_layer_norm_eps(config["layer_norm_eps"])
    else:
        w.add_head_count_kv(kv)
        w.add_layer_norm_rms_eps(config["rms_norm_eps"])
        w.add_rope_freq_base(rope["rope_theta"])
        w.add_vocab_size(config["vocab_size"])
    if config["model_type"] == "llama":
        w.add_key_length(head_dim)
        w.add_value_length(head_dim)
    w.add_rope_dimension_count(int(head_dim * rope.get("partial_rotary_factor", 1.0)))
    return rope, head_dim


def scaling(w, config, rope, head_dim):
    if rope["rope_type"] == "linear":
        w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        w.add_rope_scaling_factor(rope["factor"])
    if rope["rope_type"] == "llama3":
        w.add_tensor("rope_freqs.weight", llama3_divisors(rope, head_dim))
    if rope["rope_type"] == "longrope":
        original = config["original_max_position_embeddings"]
        stretch = config["max_position_embeddings"] / original
        w.add_rope_scaling_orig_ctx_len(original)
        w.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(stretch) / math.log(original)))
        w.add_tensor("rope_factors_long.weight", np.array(rope["long_factor"], dtype=np.float32))
        w.add_tensor("rope_factors_short.weight", np.array(rope["short_factor"], dtype=np.float32))


def make(name):
    folder = HERE / "families" / name
    config = json.loads((folder / "config.json").read_text())
    arch = ARCHES[config["model_type"]]
    names = gguf.get_tensor_name_map(arch, config["num_hidden_layers"])
    w = gguf.GGUFWriter(HERE / "containers" / f"{name}.gguf", gguf.MODEL_ARCH_NAMES[arch])
    w.add_name(name)
    rope, head_dim = metadata(w, config)
    scaling(w, config, rope, head_dim)
    for key, tensor in load_file(folder / "model.safetensors").items():
        x = convert(key, tensor.numpy(), config)
        # converters keep vectors in float32
        w.add_tensor(names.get_name(key, try_suffixes=(".weight", ".bias")), np.ascontiguousarray(x.astype(np.float32) if x.ndim == 1 else x))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


if __name__ == "__main__":
    (HERE / "containers").mkdir(exist_ok=True)
    for model in NAMES:
        make(model)
