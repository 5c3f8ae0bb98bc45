"""Runs a Hugging Face model and keeps what ropescope claims to know about it.

Used by the scripts of this folder. Nothing of ropescope is used here: queries, keys, values and attention weights are taken where
transformers' own attention code has them, and statistics are computed from them in float64 with numpy.
"""

import contextlib
import sys

import numpy as np
import torch


@contextlib.contextmanager
def float64_everywhere():
    """Inside, transformers' explicit detours through float32 (norms, soft-max, angles) are float64 too."""
    kept = torch.float32, torch.float, torch.Tensor.float
    torch.float32 = torch.float = torch.float64
    torch.Tensor.float = torch.Tensor.double
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.float32, torch.float, torch.Tensor.float = kept
        torch.set_default_dtype(torch.float32)


class Recorder:
    """Wraps apply_rotary_pos_emb and eager_attention_forward of a model's modelling module.

    After a forward pass, per layer (in order): q, k before rotation [B, H|K, T, Dh] (after a q/k norm), rot_q, rot_k, v, pattern.
    `edit(layer, q, k, rot_q, rot_k)` may change what enters the product: k and rot_k come with one key head per query head.
    """

    def __init__(self, model, edit=None):
        self.module = sys.modules[type(model).__module__]
        self.edit, self.layers, self.before = edit, [], None

    def rotary(self, q, k, *args, **kwargs):
        self.before = q, k
        return self.kept[0](q, k, *args, **kwargs)

    def eager(self, module, query, key, value, mask, scaling=None, **kwargs):
        q, k = self.before if self.before is not None else (query, key)
        layer = len(self.layers)
        self.layers.append({"q": q, "k": k, "rot_q": query, "rot_k": key, "v": value})
        self.before = None
        if self.edit is not None:
            groups = query.shape[1] // key.shape[1]
            spread = [x.repeat_interleave(groups, 1) for x in (k, key, value)]
            query, key = self.edit(layer, q, spread[0], query, spread[1])
            value = spread[2]
            module.num_key_value_groups = 1
        out, weights = self.kept[1](module, query, key, value, mask, scaling=scaling, **kwargs)
        if self.edit is not None:
            module.num_key_value_groups = groups
        self.layers[-1]["pattern"] = weights
        return out, weights

    def __enter__(self):
        self.kept = self.module.apply_rotary_pos_emb, self.module.eager_attention_forward
        self.module.apply_rotary_pos_emb, self.module.eager_attention_forward = self.rotary, self.eager
        return self

    def __exit__(self, *exc):
        self.module.apply_rotary_pos_emb, self.module.eager_attention_forward = self.kept


def run(model, ids, edit=None):
    """-> logits [B, T, V], layers: list of dict of numpy arrays. The model must use eager attention."""
    with torch.no_grad(), Recorder(model, edit) as recorder:
        logits = model(input_ids=torch.as_tensor(np.asarray(ids, dtype=np.int64)), use_cache=False).logits
    layers = [{name: x.numpy() for name, x in layer.items()} for layer in recorder.layers]
    return logits.numpy(), layers


def inverse_frequencies(model, layer):
    """theta per rotary index and the factor on cos and sin, of a layer, from the model's own tables; None for a NoPE layer."""
    config = model.config
    base = getattr(model, model.base_model_prefix)
    no_rope = getattr(config, "no_rope_layers", None)
    if no_rope is not None and not no_rope[layer]:
        return None, 1.0
    rotary = base.rotary_emb
    if hasattr(rotary, "inv_freq"):
        return rotary.inv_freq.numpy(), float(rotary.attention_scaling)
    kind = config.layer_types[layer]
    return getattr(rotary, f"{kind}_inv_freq").numpy(), float(getattr(rotary, f"{kind}_attention_scaling"))


def pairs(head_dim, theta):
    """lo, hi, theta of every pair, fastest first: index i of the rotary width d turns with i + d/2; what passes by pairs likewise."""
    theta = np.zeros(0) if theta is None else np.asarray(theta, dtype=np.float64)
    half = len(theta)
    table = [(i, i + half, theta[i]) for i in range(half)]
    rest = list(range(2 * half, head_dim))
    table += [(rest[j], rest[j + len(rest) // 2], 0.0) for j in range(len(rest) // 2)]
    table.sort(key=lambda row: (-row[2], row[0]))
    return [np.array(column) for column in zip(*table)]


def nll(logits, ids):
    """-ln p(token t | before) in nats [B, T], NaN at t = 0; computed in float64."""
    x = np.asarray(logits, dtype=np.float64)[:, :-1]
    top = x.max(-1, keepdims=True)
    log_sum = np.log(np.exp(x - top).sum(-1)) + top[..., 0]
    target = np.take_along_axis(x, np.asarray(ids)[:, 1:, None], -1)[..., 0]
    return np.concatenate([np.full((x.shape[0], 1), np.nan), log_sum - target], 1)


def pair_norms(x, lo, hi):
    """x [B, heads, T, Dh] -> mean [heads, pairs], rms (positions 1..T-1), mean at position 0; all float64."""
    x = np.asarray(x, dtype=np.float64)
    norm = np.sqrt(x[..., lo] ** 2 + x[..., hi] ** 2)
    rest = norm[:, :, 1:]
    return rest.mean((0, 2)), np.sqrt((rest**2).mean((0, 2))), norm[:, :, 0].mean(0)


def pattern_scores(a):
    """a [B, H, T, T] -> dict of [H]: mean over rows 1..T-1 of A[t,t], A[t,t-1], A[t,0] and the row's entropy in nats."""
    a = np.asarray(a, dtype=np.float64)
    t = np.arange(1, a.shape[-1])
    rows = a[:, :, 1:]
    return {
        "diagonal": a[:, :, t, t].mean((0, 2)),
        "previous": a[:, :, t, t - 1].mean((0, 2)),
        "first": a[:, :, t, 0].mean((0, 2)),
        "entropy": -(rows * np.log(np.where(rows > 0, rows, 1.0))).sum(-1).mean((0, 2)),
    }


def statistics(model, layers):
    """What `audit` reports, layer by layer, from recorded activations: name -> [L, ...] float64."""
    out = {}
    for number, layer in enumerate(layers):
        lo, hi, theta = pairs(layer["q"].shape[-1], inverse_frequencies(model, number)[0])
        found = {"rope/theta": theta, "rope/component_lo": lo, "rope/component_hi": hi}
        for name in ("q", "k"):
            mean, rms, sink = pair_norms(layer[name], lo, hi)
            found |= {f"frequency_norm/{name}_mean": mean, f"frequency_norm/{name}_rms": rms, f"frequency_norm/{name}_mean_sink": sink}
        half = np.arange(layer["v"].shape[-1] // 2)
        found["frequency_norm/v_mean"], found["frequency_norm/v_rms"], _ = pair_norms(layer["v"], half, half + len(half))
        found |= {f"attention_pattern/{name}": value for name, value in pattern_scores(layer["pattern"]).items()}
        for name, value in found.items():
            out.setdefault(name, []).append(value)
    return {name: np.stack(value) for name, value in out.items()}


def write_arrays(stem, arrays):
    """STEM.bin: the arrays one behind the other, little-endian float32 or float64; STEM.tsv: name, dtype, sizes, byte offset."""
    lines, blob = [], b""
    for name, value in arrays.items():
        value = np.ascontiguousarray(value, dtype="<f4" if value.dtype == np.float32 else "<f8")
        lines.append(f"{name}\t{'f32' if value.itemsize == 4 else 'f64'}\t{','.join(map(str, value.shape))}\t{len(blob)}\n")
        blob += value.tobytes()
    stem.with_name(f"{stem.name}.tsv").write_text("".join(lines))  # with_suffix would cut a name like p-rope-0.75
    stem.with_name(f"{stem.name}.bin").write_bytes(blob)


def in_float64(model):
    """The same model, every tensor and every table float64. Call inside float64_everywhere()."""
    config = type(model.config).from_dict(model.config.to_dict())
    twin = type(model)._from_config(config, attn_implementation="eager", dtype=torch.float64)
    twin.load_state_dict({name: t.double() for name, t in model.state_dict().items()})
    return twin.double().eval()


def error(a, b):
    """max|a - b| / max|b|."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    keep = ~(np.isnan(a) & np.isnan(b))
    scale = np.abs(b[keep]).max() if keep.any() else 0.0
    worst = np.abs(a[keep] - b[keep]).max() if keep.any() else 0.0
    return float(worst if scale == 0 else worst / scale)
