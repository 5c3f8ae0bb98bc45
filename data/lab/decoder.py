"""A pre-norm decoder (RMSNorm, SwiGLU, tied embeddings: llama's block) whose rotary frequencies are an argument."""

from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import nn

from positions import Encoding


INITIAL = (
    "normal; standard deviation 0.6/sqrt(inputs) for matrices, divided by sqrt(2 x layers) for those that write to the residual "
    "stream, and 0.02 for embeddings"
)


@dataclass(frozen=True)
class Shape:
    vocabulary: int = 2048
    width: int = 128
    layers: int = 6
    heads: int = 4
    head: int = 32
    hidden: int = 256
    context: int = 256
    eps: float = 1e-6

    def as_dict(self) -> dict:
        return asdict(self)


class Norm(nn.Module):
    def __init__(self, shape: Shape):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(shape.width))
        self.eps = shape.eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(x, (x.shape[-1],), self.weight, self.eps)


class Block(nn.Module):
    def __init__(self, shape: Shape):
        super().__init__()
        s = self.shape = shape
        self.attention_norm = Norm(s)
        self.qkv = nn.Linear(s.width, 3 * s.heads * s.head, bias=False)
        self.out = nn.Linear(s.heads * s.head, s.width, bias=False)
        self.mlp_norm = Norm(s)
        self.gate_up = nn.Linear(s.width, 2 * s.hidden, bias=False)
        self.down = nn.Linear(s.hidden, s.width, bias=False)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        """x [batch, tokens, width]; cos, sin [tokens, components]"""
        s = self.shape
        batch, tokens, _ = x.shape
        q, k, v = self.qkv(self.attention_norm(x)).view(batch, tokens, 3, s.heads, s.head).permute(2, 0, 3, 1, 4)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        with torch.autocast("cpu", enabled=False):  # torch's CPU attention is faster in float32 than in bfloat16
            mixed = F.scaled_dot_product_attention(q.float(), k.float(), v.float(), is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, tokens, s.heads * s.head))
        gate, up = self.gate_up(self.mlp_norm(x)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Half-split rotation of the first `components` of each head; x [batch, heads, tokens, head]."""
    turned = cos.shape[-1]
    a, b, rest = x[..., : turned // 2], x[..., turned // 2 : turned], x[..., turned:]
    halves = torch.cat((-b, a), dim=-1)
    return torch.cat((x[..., :turned] * cos + halves * sin, rest), dim=-1).to(x.dtype)


class Decoder(nn.Module):
    def __init__(self, shape: Shape, encoding: Encoding):
        super().__init__()
        self.shape = shape
        self.embed = nn.Embedding(shape.vocabulary, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = Norm(shape)
        angles = torch.outer(
            torch.arange(shape.context, dtype=torch.float64), torch.tensor(encoding.frequencies, dtype=torch.float64)
        )
        angles = torch.cat((angles, angles), dim=-1)
        self.register_buffer("cos", angles.cos().float(), persistent=False)
        self.register_buffer("sin", angles.sin().float(), persistent=False)

    def initialise(self, seed: int) -> None:
        """The same numbers for every encoding: no parameter depends on it. INITIAL says which."""
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            nn.init.normal_(self.embed.weight, std=0.02, generator=generator)
            for block in self.blocks:
                for linear in (block.qkv, block.out, block.gate_up, block.down):
                    std = 0.6 / linear.in_features**0.5
                    if linear is block.out or linear is block.down:
                        std /= (2 * self.shape.layers) ** 0.5
                    nn.init.normal_(linear.weight, std=std, generator=generator)

    def logits(self, ids: torch.Tensor) -> torch.Tensor:
        """ids [batch, tokens] -> [batch, tokens, vocabulary]"""
        x = self.embed(ids)
        cos, sin = self.cos[: ids.shape[1]], self.sin[: ids.shape[1]]
        for block in self.blocks:
            x = block(x, cos, sin)
        return F.linear(self.norm(x), self.embed.weight)

    def forward(self, ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy in nats of targets [batch, tokens]."""
        return F.cross_entropy(self.logits(ids).float().flatten(0, 1), targets.flatten())
