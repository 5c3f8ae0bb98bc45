"""What `ropescope audit` says about a run on the sample text: for runs whose statistics are kept and whose weights are not."""

import os
import subprocess
from pathlib import Path

import export
import train
from positions import ENCODINGS
from trigram import ROOT, SAMPLE

PROGRAM = ROOT / "build" / "ropescope"
MODELS = ROOT / "build" / "lab" / "models"


def audit(program: Path, model: Path, out: Path, context: int, more: list[str]) -> None:
    """As `./bootstrap demo` does with the models that ship. A run file records its command line: paths are given relative to
    the repository, so that it reads the same wherever it was made."""
    words = [os.path.relpath(path, ROOT) for path in (program, model, SAMPLE, out)]
    command = [words[0], "audit", words[1], words[2], "--context", str(context), "-o", words[3], *more]
    subprocess.run(command, cwd=ROOT, check=True)


def write(run: Path, out: Path, program: Path = PROGRAM, force: bool = False, models: Path = MODELS) -> None:
    """The model's folder has the published name, so that repeats of one encoding have one name in a comparison; it stays in
    `models`, where the next audit of this run replaces it."""
    model, facts = train.load(run)
    folder = models / f"seed{facts['seed']}" / ENCODINGS[facts["encoding"]].published
    export.export(run, folder, force=True, with_card=False)
    out.parent.mkdir(parents=True, exist_ok=True)
    # Nobody merges these: without the raw sums a file takes a tenth.
    more = ["--no-state", "--catalog", os.path.relpath(folder.parent / "ropescope.sqlite", ROOT)]
    audit(program.resolve(), folder, out.resolve(), model.shape.context, more + (["--force"] if force else []))
