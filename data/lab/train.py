"""One training run: deterministic, resumable, its loss by step kept as CSV.

The blocks' matrices are trained by Muon (momentum, made orthogonal; its step scaled to the root mean square of an AdamW step, so
that one rate serves both), embeddings and norms by AdamW: at 8 million tokens the model without positions reached a loss of 3.86
nats on the valid split where AdamW alone reached 4.04. Linear warm-up, then a cosine that ends at 1 % of the peak rate. The order of
the train split depends on the seed alone, so that every encoding sees the same windows in the same order.
"""

import csv
import json
import math
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

import corpus
from decoder import Decoder, Shape
from positions import Encoding


@dataclass(frozen=True)
class Recipe:
    steps: int  # 0: one epoch
    batch: int = 8
    rate: float = 3e-3
    final: float = 0.01  # of the peak rate
    warmup: int = 200
    decay: float = 0.1  # on matrices only
    momentum: float = 0.95  # of Muon, Nesterov's
    betas: tuple[float, float] = (0.9, 0.95)  # of AdamW
    clip: float = 1.0
    threads: int = 1  # sums are ordered by thread: another number gives other last bits
    compiled: bool = True  # torch.compile; needs a C++ compiler

    def as_dict(self) -> dict:
        return asdict(self)

    def words(self) -> str:
        """For the model card."""
        return (
            f"Muon (momentum {self.momentum}) for the matrices of the blocks, AdamW ({self.betas[0]}, {self.betas[1]}) for embeddings and "
            f"norms, peak rate {self.rate:g} after {self.warmup} steps, cosine to {self.final:.0%} of it, "
            f"weight decay {self.decay:g} on matrices, gradients clipped at {self.clip:g}, bfloat16 autocast with attention in float32"
        )


def order(tokens: int, context: int, seed: int) -> np.ndarray:
    """Starts of the windows of `context` tokens in training order: END and all but the last are read, all are predicted. The windows
    lie side by side from an offset that depends on the seed."""
    draw = np.random.default_rng(seed)
    offset = int(draw.integers(context))
    starts = np.arange(offset, tokens - context + 1, context)
    return draw.permutation(starts)


def rate_at(recipe: Recipe, step: int, steps: int) -> float:
    if step < recipe.warmup:
        return recipe.rate * (step + 1) / recipe.warmup
    done = (step - recipe.warmup) / max(1, steps - recipe.warmup)
    return recipe.rate * (recipe.final + (1 - recipe.final) * 0.5 * (1 + math.cos(math.pi * done)))


def optimisers(model: Decoder, recipe: Recipe) -> list[torch.optim.Optimizer]:
    blocks = [p for p in model.blocks.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    rest = [{"params": [model.embed.weight], "weight_decay": recipe.decay}, {"params": vectors, "weight_decay": 0.0}]
    return [
        torch.optim.Muon(blocks, lr=recipe.rate, weight_decay=recipe.decay, momentum=recipe.momentum, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=recipe.rate, betas=recipe.betas),
    ]


def save(path: Path, state: dict) -> None:
    part = path.with_suffix(".part")
    torch.save(state, part)
    os.replace(part, path)


def mean_loss(model: Decoder, ids: np.ndarray, windows: int | None = None) -> float:
    """Mean loss in nats over side-by-side windows (all, or `windows` of them spread evenly); every token of the text is predicted
    once, the END in front of each window is given."""
    all_windows = corpus.side_by_side(ids, model.shape.context)
    if windows is not None and windows < len(all_windows):
        all_windows = all_windows[np.linspace(0, len(all_windows) - 1, windows).astype(int)]
    total = 0.0
    with torch.no_grad():
        for i in range(0, len(all_windows), 32):
            x = torch.from_numpy(all_windows[i : i + 32].astype(np.int64))
            total += float(model(x[:, :-1], x[:, 1:])) * len(x)
    return total / len(all_windows)


def train(work: Path, encoding: Encoding, seed: int, recipe: Recipe, shape: Shape, save_every: int = 400) -> Path:
    """Trains, or goes on where an earlier run stopped; returns the run's folder: state.pt, log.csv."""
    torch.set_num_threads(recipe.threads)
    torch.use_deterministic_algorithms(True)
    ids, valid = corpus.load(work, "train"), corpus.load(work, "valid")
    windows = order(len(ids), shape.context, seed)
    epoch = len(windows) // recipe.batch
    steps = recipe.steps or epoch

    model = Decoder(shape, encoding)
    model.initialise(seed)
    opts = optimisers(model, recipe)
    folder = work / f"{encoding.name}-seed{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    state_path = folder / "state.pt"
    facts = {"encoding": encoding.name, "seed": seed, "recipe": recipe.as_dict(), "shape": shape.as_dict(), "steps": steps,
             "corpus": json.loads((work / "corpus.json").read_text())}
    first, log, seconds = 0, [], 0.0
    if state_path.is_file():
        state = torch.load(state_path, weights_only=True)
        if state["facts"] != facts:
            raise SystemExit(f"{state_path}: belongs to another run ({state['facts']}); remove it to start over")
        model.load_state_dict(state["model"])
        for opt, held in zip(opts, state["optimisers"], strict=True):
            opt.load_state_dict(held)
        first, log, seconds = state["step"], state["log"], state["seconds"]

    run = torch.compile(model) if recipe.compiled else model
    started = time.monotonic() - seconds
    sums, counted = 0.0, 0
    for step in range(first, steps):
        for group in (g for opt in opts for g in opt.param_groups):
            group["lr"] = rate_at(recipe, step, steps)
        at = [windows[(step * recipe.batch + i) % len(windows)] for i in range(recipe.batch)]
        text = np.stack([ids[s : s + shape.context] for s in at]).astype(np.int64)
        x = torch.from_numpy(np.pad(text, ((0, 0), (1, 0)), constant_values=corpus.END_ID))
        with torch.autocast("cpu", torch.bfloat16):
            loss = run(x[:, :-1], x[:, 1:])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        for opt in opts:
            opt.step()
        model.zero_grad(set_to_none=True)
        sums, counted = sums + loss.item(), counted + 1
        last = step + 1 == steps
        if (step + 1) % 100 == 0 or last:
            seconds = time.monotonic() - started
            done = (step + 1) * recipe.batch * shape.context
            checked = f"{mean_loss(model, valid, 64):.4f}" if (step + 1) % save_every == 0 or last else ""
            log.append([step + 1, done, f"{sums / counted:.4f}", checked, f"{rate_at(recipe, step, steps):.3g}", f"{done / seconds:.0f}"])
            print(f"{folder.name}: step {step + 1} of {steps}, loss {sums / counted:.4f}, valid {checked or '-'}", flush=True)
            sums, counted = 0.0, 0
        if (step + 1) % save_every == 0 or last:
            save(state_path, {"facts": facts, "model": model.state_dict(), "optimisers": [opt.state_dict() for opt in opts],
                              "step": step + 1, "log": log, "seconds": seconds})
    write_log(folder / "log.csv", log)
    return folder


def write_log(path: Path, log: list) -> None:
    with path.open("w", newline="") as f:
        out = csv.writer(f, lineterminator="\n")
        out.writerow(["step", "tokens", "train_loss", "valid_loss_64_windows", "rate", "tokens_per_second"])
        out.writerows(log)


def load(folder: Path) -> tuple[Decoder, dict]:
    """The model of a finished or unfinished run, and its facts; with step, seconds and log."""
    from positions import ENCODINGS

    path = folder / "state.pt"
    if not path.is_file():
        raise SystemExit(f"{path}: missing; `data/lab/lab train` makes it")
    state = torch.load(path, weights_only=True)
    model = Decoder(Shape(**state["facts"]["shape"]), ENCODINGS[state["facts"]["encoding"]])
    model.load_state_dict(state["model"])
    return model, {**state["facts"], "step": state["step"], "seconds": state["seconds"], "log": state["log"]}
