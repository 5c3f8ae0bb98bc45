"""The toy experiment of "The Rotary Position Embedding May Cause Dimension Inefficiency" (arXiv 2502.11276, section 4): one head
learns 1,000 tuples (query, key, value) by heart and must give back the value of a query among 128 of them, which stand anywhere
within 2,048 positions. With RoPE on the keys, which dimensions does it come to use?

Where the paper says nothing, this is what is done: Adam; entries drawn with standard deviation 1/sqrt(width); logits divided by
sqrt(width); each key at its own position drawn without repetition, the query not rotated (so the distance is the key's position);
base 10,000; the softmax of the loss over all 1,000 values.
"""

import csv
import functools
import html
import math
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F

from positions import BASE


@dataclass(frozen=True)
class Toy:
    tuples: int = 1000
    width: int = 128
    subset: int = 128
    positions: int = 2048
    batch: int = 64
    steps: int = 15700  # 100 epochs of 10,000 samples
    rate: float = 1e-3
    removed: int = 8  # dimensions between two points of the removal curve
    judged: int = 40  # batches that the loss of a removal is the mean of


ARMS = {"RoPE on the keys": True, "no RoPE": False}


@functools.cache
def turns(toy: Toy) -> torch.Tensor:
    """e^{i theta m} [positions, width / 2], fastest pair first; pair j is components j and j + width / 2."""
    theta = BASE ** (-2 * torch.arange(toy.width // 2, dtype=torch.float64) / toy.width)
    angle = torch.arange(toy.positions)[:, None] * theta
    return torch.polar(torch.ones_like(angle), angle).to(torch.complex64)


def rotate(toy: Toy, x: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    z = torch.complex(*x.chunk(2, -1)) * turns(toy)[at]
    return torch.cat((z.real, z.imag), -1)


def draw(toy: Toy, random: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """One batch: tuples present [batch, subset], their positions, and which of them is asked for [batch]."""
    present = torch.rand(toy.batch, toy.tuples, generator=random).topk(toy.subset).indices
    at = torch.rand(toy.batch, toy.positions, generator=random).topk(toy.subset).indices
    asked = torch.randint(toy.subset, (toy.batch,), generator=random)
    return present, at, present.gather(1, asked[:, None])[:, 0]


def loss(toy: Toy, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, rope: bool, batch) -> torch.Tensor:
    """Equation 3 of the paper on one batch. q, k, v [tuples, width]"""
    present, at, asked = batch
    keys = k[present]
    if rope:
        keys = rotate(toy, keys, at)
    attention = torch.einsum("bd,bsd->bs", q[asked], keys).div(math.sqrt(toy.width)).softmax(-1)
    return F.cross_entropy(torch.einsum("bs,bsd->bd", attention, v[present]) @ v.T, asked)


def train(toy: Toy, rope: bool, seed: int) -> tuple[list[torch.Tensor], torch.Generator]:
    random = torch.Generator().manual_seed(seed)
    weights = [torch.randn(toy.tuples, toy.width, generator=random).div(math.sqrt(toy.width)).requires_grad_() for _ in range(3)]
    adam = torch.optim.Adam(weights, lr=toy.rate)
    for step in range(toy.steps):
        adam.zero_grad(set_to_none=True)
        now = loss(toy, *weights, rope, draw(toy, random))
        now.backward()
        adam.step()
        if (step + 1) % 1000 == 0:
            print(f"toy, {'with' if rope else 'without'} RoPE: step {step + 1} of {toy.steps}, loss {now.item():.4f}", flush=True)
    return [w.detach() for w in weights], random


def by_frequency(toy: Toy) -> torch.Tensor:
    """Components from the fastest pair to the slowest, a pair's two beside each other."""
    half = torch.arange(toy.width // 2)
    return torch.stack((half, half + toy.width // 2), 1).flatten()


def removals(toy: Toy, weights: list[torch.Tensor], rope: bool, seed: int) -> dict[str, list[float]]:
    """Loss without the first and without the last 0, 8, 16, ... dimensions, on the same batches for all."""
    order, out = by_frequency(toy), {"first": [], "last": []}
    for end, losses in out.items():
        for n in range(0, toy.width + 1, toy.removed):
            gone = order[:n] if end == "first" else order[toy.width - n :]
            q = weights[0].clone()
            q[:, gone] = 0  # of the query or of the key: the logit is the same
            random = torch.Generator().manual_seed(1000 + seed)
            with torch.no_grad():
                losses.append(sum(loss(toy, q, *weights[1:], rope, draw(toy, random)).item() for _ in range(toy.judged)) / toy.judged)
    return out


def measure(toy: Toy, seed: int) -> list[dict]:
    """Rows of the table: arm, quantity, dimensions from the fastest on, value."""
    rows = []
    for arm, rope in ARMS.items():
        weights, _ = train(toy, rope, seed)
        for name, w in zip(("mean |q|", "mean |k|"), weights):
            size = w.abs().mean(0)[by_frequency(toy)]
            rows += [{"arm": arm, "quantity": name, "dimension": d, "value": f"{x:.5f}"} for d, x in enumerate(size.tolist())]
        for end, losses in removals(toy, weights, rope, seed).items():
            rows += [{"arm": arm, "quantity": f"loss without the {end}", "dimension": i * toy.removed, "value": f"{x:.5f}"}
                     for i, x in enumerate(losses)]
    return rows


# --- the figure

WIDE, HIGH, LEFT, TOP, GAP = 400, 250, 62, 58, 80
COLOUR = {"RoPE on the keys": "#0072b2", "no RoPE": "#e69f00"}


def panel(rows: list[dict], quantities: dict[str, str], left: float, title: str, unit: str, across: str) -> str:
    """One plot: a line for every arm and quantity; quantities: name -> dash pattern."""
    mine = [r for r in rows if r["quantity"] in quantities]
    top = max(float(r["value"]) for r in mine) * 1.05
    most = max(r["dimension"] for r in mine)
    x = lambda d: left + d / most * WIDE
    y = lambda v: TOP + HIGH - v / top * HIGH
    out = [f'<text x="{left}" y="{TOP - 30}" class="title">{html.escape(title)}</text>',
           f'<text x="{left}" y="{TOP - 12}" class="note">{html.escape(unit)}</text>']
    step = 10 ** math.floor(math.log10(top / 2))
    step *= 1 if top / step < 6 else 2 if top / step < 12 else 5
    for i in range(int(top / step) + 1):
        out.append(f'<line x1="{left}" x2="{left + WIDE}" y1="{y(i * step):.1f}" y2="{y(i * step):.1f}" class="grid"/>'
                   f'<text x="{left - 8}" y="{y(i * step) + 4:.1f}" class="tick" text-anchor="end">{i * step:g}</text>')
    for d in range(0, most + 2, 32):
        out.append(f'<text x="{x(min(d, most)):.1f}" y="{TOP + HIGH + 18}" class="tick" text-anchor="middle">{d}</text>')
    out.append(f'<text x="{left + WIDE / 2}" y="{TOP + HIGH + 38}" class="note" text-anchor="middle">{html.escape(across)}</text>')
    for arm in ARMS:
        for name, dash in quantities.items():
            line = " ".join(f"{x(r['dimension']):.1f},{y(float(r['value'])):.1f}" for r in mine if r["arm"] == arm and r["quantity"] == name)
            out.append(f'<polyline points="{line}" fill="none" stroke="{COLOUR[arm]}" stroke-width="1.8" stroke-dasharray="{dash}"/>')
    return "\n".join(out)


def legend(entries: list[tuple[str, str, str]], left: float) -> str:
    out = []
    for i, (words, colour, dash) in enumerate(entries):
        y = TOP + HIGH + 62 + 18 * i
        out.append(f'<line x1="{left}" x2="{left + 28}" y1="{y - 4}" y2="{y - 4}" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>'
                   f'<text x="{left + 36}" y="{y}" class="note">{html.escape(words)}</text>')
    return "\n".join(out)


def figure(rows: list[dict]) -> str:
    size = {"mean |q|": "", "mean |k|": "5 4"}
    removal = {"loss without the first": "", "loss without the last": "5 4"}
    second = LEFT + WIDE + GAP
    return "\n".join((
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {second + WIDE + 30} {TOP + HIGH + 128}" font-family="sans-serif">',
        "<style>text{fill:#222}.title{font-size:15px;font-weight:600}.note{font-size:12px}.tick{font-size:11px;fill:#555}"
        ".grid{stroke:#ddd;stroke-width:1}</style>",
        f'<rect width="{second + WIDE + 30}" height="{TOP + HIGH + 128}" fill="#fff"/>',
        panel(rows, size, LEFT, "Which dimensions are used", "mean size of an entry", "dimension, fastest frequency first"),
        panel(rows, removal, second, "What removing them costs", "loss, nats", "dimensions removed"),
        legend([(f"{q[5:]}, {arm}", COLOUR[arm], dash) for arm in ARMS for q, dash in size.items()], LEFT),
        legend([(f"{q[5:]} dimensions, {arm}", COLOUR[arm], dash) for arm in ARMS for q, dash in removal.items()], second),
        "</svg>\n",
    ))


def write(folder: Path, toy: Toy, seed: int) -> None:
    torch.set_num_threads(1)
    rows = measure(toy, seed)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "toy.csv", "w", newline="", encoding="utf-8") as f:
        table = csv.DictWriter(f, rows[0].keys(), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    (folder / "toy.svg").write_text(figure(rows), encoding="utf-8")
    print(f"wrote {folder / 'toy.csv'} and {folder / 'toy.svg'}")
