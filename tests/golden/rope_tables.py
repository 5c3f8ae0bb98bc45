#!/usr/bin/env python3
"""Writes rope_tables.tsv: the rotary tables that Hugging Face transformers makes of tiny configurations of every family.

    python3 tests/golden/rope_tables.py > tests/golden/rope_tables.tsv       (needs the packages of requirements.txt)

Rows, separated by tabs:
    config  NAME  SPELLING  config.json on one line         "file": as listed below; "saved": as transformers 5 writes it back
    layer   NAME  LAYER     CONTEXT  ATTENTION_FACTOR  inv_freq,inv_freq,...   ("none" for a layer without RoPE)
inv_freq is in transformers' own order: entry i belongs to components i and i + n of the n entries. CONTEXT is the length of the
sequence for which the table was made. tests/model/test_rope_tables.c reads the file.
"""

import json
import sys

import torch
import transformers

LLAMA = dict(model_type="llama", hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, vocab_size=96,
             max_position_embeddings=8192, rms_norm_eps=1e-5)
LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 256}
PHI3 = LLAMA | dict(model_type="phi3", max_position_embeddings=1024, original_max_position_embeddings=256, pad_token_id=0, bos_token_id=1, eos_token_id=2)
SMOLLM3 = LLAMA | dict(model_type="smollm3", num_hidden_layers=5, pad_token_id=0, bos_token_id=1, eos_token_id=2)
GEMMA3 = LLAMA | dict(model_type="gemma3_text", num_hidden_layers=7, head_dim=32, sliding_window=32)
NEOX = dict(model_type="gpt_neox", hidden_size=128, intermediate_size=96, num_hidden_layers=2, num_attention_heads=2, vocab_size=96,
            max_position_embeddings=2048, bos_token_id=1, eos_token_id=2)
REST = [1e30, 1e30, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]

# name: (context, config.json)
CONFIGS = {
    "llama_v4": (512, LLAMA | dict(rope_theta=5e5)),
    "llama_silent": (512, LLAMA),
    "llama_v4_linear": (512, LLAMA | dict(rope_theta=1e4, rope_scaling={"type": "linear", "factor": 4.0})),
    "llama_v4_llama3": (512, LLAMA | dict(rope_theta=5e5, head_dim=32, rope_scaling={"rope_type": "llama3"} | LLAMA3)),
    "llama_v5_llama3": (512, LLAMA | dict(head_dim=32, rope_parameters={"rope_type": "llama3", "rope_theta": 5e5} | LLAMA3)),
    "llama_v5_default_partial": (512, LLAMA | dict(rope_parameters={"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5})),
    "llama_v4_default_partial": (512, LLAMA | dict(rope_theta=1e4, partial_rotary_factor=0.25)),
    "llama_proportional_quarter": (512, LLAMA | dict(rope_parameters={"rope_type": "proportional", "rope_theta": 1e4, "partial_rotary_factor": 0.25})),
    "llama_proportional_uneven": (512, LLAMA | dict(head_dim=24, rope_parameters={"rope_type": "proportional", "rope_theta": 1e4, "partial_rotary_factor": 0.4})),
    "llama_proportional_none": (512, LLAMA | dict(rope_parameters={"rope_type": "proportional", "rope_theta": 1e4, "partial_rotary_factor": 0.0})),
    "llama_proportional_all_scaled": (512, LLAMA | dict(rope_parameters={"rope_type": "proportional", "rope_theta": 1e4, "factor": 2.0})),
    "llama_dynamic_short": (512, LLAMA | dict(rope_theta=1e4, rope_scaling={"type": "dynamic", "factor": 2.0})),
    "llama_dynamic_long": (1024, LLAMA | dict(max_position_embeddings=256, rope_theta=1e4, rope_scaling={"type": "dynamic", "factor": 2.0})),
    "llama_yarn": (512, LLAMA | dict(head_dim=64, rope_theta=1e6, rope_scaling={"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 2048})),
    "llama_yarn_mscale": (512, LLAMA | dict(head_dim=64, rope_theta=1.5e5, rope_scaling={"rope_type": "yarn", "factor": 32.0, "original_max_position_embeddings": 256,
                          "truncate": False, "beta_fast": 16.0, "beta_slow": 2.0, "mscale": 1.0, "mscale_all_dim": 0.5})),
    "llama_longrope_reversed": (512, LLAMA | dict(rope_parameters={"rope_type": "longrope", "rope_theta": 1e4, "short_factor": REST, "long_factor": REST,
                                "original_max_position_embeddings": 8192, "factor": 1.0})),
    "llama_longrope_attention": (512, LLAMA | dict(rope_parameters={"rope_type": "longrope", "rope_theta": 1e4, "short_factor": REST, "long_factor": REST[::-1],
                                 "original_max_position_embeddings": 256, "attention_factor": 1.25})),
    "phi3_v4": (512, PHI3 | dict(rope_theta=1e4, rope_scaling=None, sliding_window=2047)),
    "phi3_v4_partial": (512, PHI3 | dict(rope_theta=1e4, partial_rotary_factor=0.75)),
    "phi3_v4_partial_odd": (512, PHI3 | dict(rope_theta=1e4, partial_rotary_factor=0.32)),
    "phi3_v4_longrope_short": (256, PHI3 | dict(rope_theta=1e4, partial_rotary_factor=0.75, rope_scaling={"type": "longrope", "short_factor": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5],
                               "long_factor": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]})),
    "phi3_v4_longrope_long": (257, PHI3 | dict(rope_theta=1e4, partial_rotary_factor=0.75, rope_scaling={"type": "longrope", "short_factor": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5],
                              "long_factor": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]})),
    "phi3_reversed": (200, PHI3 | dict(rope_parameters={"rope_type": "longrope", "rope_theta": 1e4, "partial_rotary_factor": 1.0, "short_factor": REST, "long_factor": REST})),
    "smollm3_silent": (512, SMOLLM3),
    "smollm3_v4_list": (512, SMOLLM3 | dict(rope_theta=5e6, no_rope_layers=[0, 1, 1, 0, 1], rope_scaling=None)),
    "smollm3_interval": (512, SMOLLM3 | dict(no_rope_layer_interval=2, rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 2e6})),
    "gemma3_v4": (512, GEMMA3 | dict(rope_theta=1e6, rope_local_base_freq=2e4, sliding_window_pattern=3, rope_scaling={"rope_type": "linear", "factor": 8.0})),
    "gemma3_silent": (512, GEMMA3),
    "gemma3_v5": (512, GEMMA3 | dict(layer_types=["full_attention", "sliding_attention"] * 3 + ["full_attention"], rope_parameters={
                  "full_attention": {"rope_type": "proportional", "rope_theta": 5e5, "partial_rotary_factor": 0.25},
                  "sliding_attention": {"rope_type": "default", "rope_theta": 3e4}})),
    "gpt_neox_silent": (512, NEOX),
    "gpt_neox_v4": (512, NEOX | dict(rotary_emb_base=20000, rotary_pct=0.5, rope_theta=7.0)),
    "gpt_neox_v4_odd": (512, NEOX | dict(rotary_pct=0.21)),
    "gpt_neox_v4_none": (512, NEOX | dict(rotary_pct=0.0)),
    "gpt_neox_v4_linear": (512, NEOX | dict(rotary_pct=0.25, rope_scaling={"type": "linear", "factor": 2.0})),
    "gpt_neox_v5": (512, NEOX | dict(rope_parameters={"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 1.0})),
}


def embedding(config):
    name = type(config).__name__.removesuffix("Config").removesuffix("Text")
    module = __import__(f"transformers.models.{config.model_type.removesuffix('_text')}.modeling_{config.model_type.removesuffix('_text')}", fromlist=["x"])
    return getattr(module, name + "RotaryEmbedding")(config)


def tables(config, context):
    """(attention factor, inv_freq) of every layer, None where there is no RoPE."""
    rotary, x, positions = embedding(config), torch.zeros(1, context, 1), torch.arange(context)[None]
    rope_layers = getattr(config, "no_rope_layers", None) or [1] * config.num_hidden_layers
    for layer in range(config.num_hidden_layers):
        if config.model_type == "gemma3_text":
            kind = config.layer_types[layer]
            rotary(x, positions, kind)
            yield getattr(rotary, f"{kind}_attention_scaling"), getattr(rotary, f"{kind}_inv_freq")
        else:
            rotary(x, positions)
            yield (rotary.attention_scaling, rotary.inv_freq) if rope_layers[layer] else None


def main():
    transformers.logging.set_verbosity_error()
    for name, (context, given) in CONFIGS.items():
        config = transformers.AutoConfig.for_model(**json.loads(json.dumps(given)))
        print("config", name, "file", json.dumps(given), sep="\t")
        print("config", name, "saved", json.dumps(json.loads(config.to_json_string())), sep="\t")
        for layer, table in enumerate(tables(config, context)):
            numbers = "none" if table is None else ",".join(f"{v:.9g}" for v in table[1].tolist())
            print("layer", name, layer, context, 1 if table is None else f"{float(table[0]):.17g}", numbers, sep="\t")


if __name__ == "__main__":
    sys.exit(main())
