"""The positional encodings under comparison: which components of a head rotate, by which angle, and how a stock
Hugging Face configuration says so.

A head of width D has D/2 pairs. `components` says how many leading components of the head are rotated (they pair up
half-split: component i with i + components/2); `frequencies` gives one angle per token and pair, in radians, fastest first.
Zero means that the pair stays as it is.
"""

from dataclasses import dataclass

HEAD = 32
BASE = 10000.0
FAR = 1e30  # longrope factor that stops a pair: its frequency becomes 1e-30 radians per token


@dataclass(frozen=True)
class Encoding:
    name: str
    published: str  # name of the exported directory
    label: str
    words: str  # what rotates, for the model card
    family: str  # Hugging Face model_type of the exported directory
    components: int
    frequencies: tuple[float, ...]  # [components / 2]
    rope: dict  # the exported rope_parameters

    def config(self, layers: int, context: int) -> dict:
        """What the family's config.json says about positions."""
        more = {
            # phi3 keeps the context before it was extended here: it was not
            "phi3": {"original_max_position_embeddings": context, "sliding_window": None},
            # in spite of its name, 0 says that a layer does not rotate
            "smollm3": {"no_rope_layers": [0] * layers, "no_rope_layer_interval": 1, "use_sliding_window": False, "sliding_window": None,
                        "layer_types": ["full_attention"] * layers},
        }
        unstretched = {"original_max_position_embeddings": context} if self.rope["rope_type"] == "longrope" else {}
        return {"rope_parameters": self.rope | unstretched} | more.get(self.family, {"attention_bias": False, "mlp_bias": False})


def geometric(width: int) -> list[float]:
    """RoPE's frequencies for `width` components: base^(-2i/width), i = 0 .. width/2 - 1 (arXiv 2104.09864, eq. 15)."""
    return [BASE ** (-2 * i / width) for i in range(width // 2)]


def full() -> Encoding:
    return Encoding(
        "full", "full-rope", "full RoPE", f"all {HEAD // 2} pairs of a head rotate", "llama", HEAD, tuple(geometric(HEAD)),
        {"rope_type": "default", "rope_theta": BASE},
    )


def partial(factor: float) -> Encoding:
    """Only the first factor x HEAD components rotate, over a frequency range of their own (arXiv 2603.11611)."""
    width = round(HEAD * factor)
    if width != HEAD * factor or width % 2 or not 0 < width < HEAD:
        raise ValueError(f"partial factor {factor} x head width {HEAD} is not an even number of components")
    return Encoding(
        f"partial-{factor}", f"partial-rope-{factor}", f"partial RoPE, {factor:.4g}",
        f"the first {width} of a head's {HEAD} components rotate, by frequencies of their own range", "phi3", width,
        tuple(geometric(width)), {"rope_type": "default", "rope_theta": BASE, "partial_rotary_factor": factor},
    )


def p_rope(proportion: float) -> Encoding:
    """The fastest floor(proportion x HEAD/2) pairs of full RoPE rotate, the slow rest does not (arXiv 2410.06205, app. D)."""
    kept = int(proportion * HEAD // 2)
    frequencies = geometric(HEAD)[:kept] + [0.0] * (HEAD // 2 - kept)
    return Encoding(
        f"p-rope-{proportion}", f"p-rope-{proportion}", f"p-RoPE, {proportion:.4g}",
        f"the fastest {kept} of full RoPE's {HEAD // 2} pairs rotate, the slowest {HEAD // 2 - kept} do not", "llama", HEAD,
        tuple(frequencies), {"rope_type": "proportional", "rope_theta": BASE, "partial_rotary_factor": proportion},
    )


def reversed_p_rope(proportion: float) -> Encoding:
    """p-RoPE's control: the slowest pairs rotate, the fast rest does not (arXiv 2410.06205, table 2)."""
    stopped = HEAD // 2 - int(proportion * HEAD // 2)
    factors = [FAR] * stopped + [1.0] * (HEAD // 2 - stopped)
    frequencies = [0.0] * stopped + geometric(HEAD)[stopped:]
    return Encoding(
        f"reversed-{proportion}", f"reversed-p-rope-{proportion}", f"reversed p-RoPE, {proportion:.4g}",
        f"the slowest {HEAD // 2 - stopped} of full RoPE's {HEAD // 2} pairs rotate, the fastest {stopped} do not", "llama", HEAD,
        tuple(frequencies),
        {"rope_type": "longrope", "rope_theta": BASE, "short_factor": factors, "long_factor": factors, "attention_factor": 1.0, "factor": 1.0},
    )


def nope() -> Encoding:
    return Encoding(
        "nope", "nope", "NoPE", "no pair rotates; the causal mask is all there is of positions", "smollm3", HEAD, (0.0,) * (HEAD // 2),
        {"rope_type": "default", "rope_theta": BASE},
    )


ENCODINGS = {
    e.name: e
    for e in (full(), partial(0.25), p_rope(0.75), nope(), partial(0.0625), reversed_p_rope(0.75), partial(0.125), p_rope(0.25))
}
