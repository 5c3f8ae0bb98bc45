"""What a run came to: the mean loss on all valid and all test windows, of the weights as they are shipped."""

import hashlib
import json
from pathlib import Path

import torch

import corpus
import train
from decoder import Decoder


def shipped(model: Decoder) -> dict[str, torch.Tensor]:
    """The parameters as an exported directory holds them: bfloat16."""
    return {name: p.detach().to(torch.bfloat16).contiguous() for name, p in model.state_dict().items()}


def sha256(tensors: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode() + tensor.view(torch.int16).numpy().tobytes())
    return digest.hexdigest()


def check_corpus(work: Path, facts: dict) -> None:
    """The tokens in `work` must be those that the run was trained on: its other splits were made with them."""
    if json.loads((work / "corpus.json").read_text()) != facts["corpus"]:
        raise SystemExit(f"{work}: holds other tokens than this run was trained on; prepare those, or put the run where they are")


def evaluate(folder: Path) -> dict:
    """Loss in nats by split, of the weights rounded to bfloat16 and run in float32. Kept in the run's loss.json, and read from
    there while the weights are the same."""
    model, facts = train.load(folder)
    check_corpus(folder.parent, facts)
    torch.set_num_threads(facts["recipe"]["threads"])
    weights = shipped(model)
    found = {"step": facts["step"], "weights_sha256": sha256(weights)}
    kept = folder / "loss.json"
    if kept.is_file():
        known = json.loads(kept.read_text())
        if found.items() <= known.items():
            return known
    model.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    for split in ("valid", "test"):
        found[split] = train.mean_loss(model, corpus.load(folder.parent, split))
        print(f"{folder.name}: {split} {found[split]:.4f} nats", flush=True)
    kept.write_text(json.dumps(found, indent=1) + "\n")
    return found
