"""How evenly pictures take the values of attributes (GRADE), as a judge that looks at them says.

    python -m experiments.images.grade runs/qdhf runs/best --judge Qwen/Qwen2.5-VL-7B-Instruct@http://localhost:8000/v1
    python -m experiments.images.grade runs/bears --judge … --questions questions.json

Each run's set (--set-size of the search) is shown to the judge, picture by picture, with a question about each
attribute: of our small world the ones that the prompt leaves open, of others those of the file, a list of objects with
name, question and answers. The figure is the entropy of the answers over its highest, from 0 to 1; it goes to
grade.json in the run's folder. Where what is in the pictures is known, the exact figure and the share of pictures on
which judge and truth agree stand beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from tqdm import tqdm

from domains.images.attributes import QUESTIONS, open_attributes, values_of
from experiments.images.arguments import is_ours
from qdfeedback import files
from qdfeedback.bounds import Amount, read_arguments
from qdfeedback.commands import run_main
from qdfeedback.encoders.attributes import Attribute, Attributes, read_attributes
from qdfeedback.metrics import attribute_entropy
from qdfeedback.models.calls import read_prices
from qdfeedback.models.ledger import Ledger
from qdfeedback.models.opening import open_model
from qdfeedback.run_settings import read_settings
from qdfeedback.shown import Shown, pixels_of


@dataclass(frozen=True)
class Args:
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of finished runs."""
    judge: str
    """Model on a server that sees pictures, as model@http://host:port/v1."""
    questions: Path | None = None
    """JSON list of objects with name, question and answers; none = of our small world."""
    ledger: Path = Path("runs/grades.db")
    """Where replies are kept: what was asked once is not asked again."""
    prices: Path | None = None
    """TOML file with what models cost."""
    cap: Amount | None = None
    """What may be spent in all, in the currency of --prices."""


def grade(run: Path, judge: Any, questions: tuple[Attribute, ...] | None) -> dict[str, Any]:
    """Returns the figures of one run's set."""
    summary, settings = files.read_json(run / "summary.json", dict), read_settings(run)
    shown = Shown(run / "shown")
    names = shown.names()
    paths = [shown.path(names[candidate]) for candidate in summary["set_ids"]]
    ours = is_ours(settings["model"])
    if questions is None and not ours:
        raise ValueError(f"--questions: {run} shows pictures of which nobody knows what to ask")
    asked = questions or tuple(QUESTIONS[name] for name in open_attributes(settings["prompt"]))
    asked = tuple(replace(one, kind="category") for one in asked)
    encoder = Attributes(asked, (judge,), files=lambda paths: [path.read_bytes() for path in paths])
    said = encoder.encode(paths)
    figures: dict[str, Any] = {"run": str(run), "judge": judge.name, "pictures": len(paths), "attributes": {}}
    for attribute, column in zip(asked, said.T, strict=True):
        found = {
            "entropy": attribute_entropy(column, len(attribute.answers)),
            "unclear": float(np.isnan(column).mean()),
        }
        if questions is None:
            true = values_of([pixels_of(path.read_bytes(), str(path)) for path in paths], attribute.name)
            both = np.isfinite(true) & np.isfinite(column)
            found["entropy_true"] = attribute_entropy(true, len(attribute.answers))
            found["agreement"] = float((true == column)[both].mean()) if both.any() else float("nan")
        figures["attributes"][attribute.name] = found
    known = [one["entropy"] for one in figures["attributes"].values() if np.isfinite(one["entropy"])]
    if not known:
        raise RuntimeError(f"{judge.name} answered nothing: {dict(+encoder.reasons)}")
    figures |= {"entropy": float(np.mean(known)), "answered_attributes": len(known), "reasons": dict(+encoder.reasons)}
    files.write_json(run / "grade.json", figures)
    return figures


def main(argv: Sequence[str] | None = None) -> None:
    """Grades every run."""
    args = read_arguments(Args, argv, __doc__)
    ledger = Ledger(args.ledger, prices=read_prices(args.prices) if args.prices else None, cap=args.cap)
    judge = open_model(args.judge, ledger)
    questions = read_attributes(args.questions) if args.questions else None
    for run in tqdm(args.runs, unit="run", disable=len(args.runs) == 1):
        figures = grade(run, judge, questions)
        of = f"{figures['answered_attributes']} of {len(figures['attributes'])} attributes"
        tqdm.write(f"{run}: entropy {figures['entropy']:.2f}, mean of {of}, of {figures['pictures']} pictures")
        for name, one in figures["attributes"].items():
            known = (
                f", in truth {one['entropy_true']:.2f}; agreement {one['agreement']:.0%}" if "agreement" in one else ""
            )
            tqdm.write(f"  {name}: {one['entropy']:.2f}, unclear {one['unclear']:.0%}{known}")


if __name__ == "__main__":
    run_main(main)
