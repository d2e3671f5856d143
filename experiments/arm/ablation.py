"""What each piece of `qdhf-active` is worth: all of it, and without one piece at a time.

    python -m experiments.arm.ablation --answers 250 --seeds 5

Left out, a piece gives way to the published one: random questions, elites alone re-inserted, the hinge loss, next to
no prior, ranges at the elites' minimum and maximum that never grow, four rounds; without `ensemble` the map is one fit,
not the mean of eight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, get_args

from tqdm import tqdm

from experiments.arm.arguments import Args as ArmArgs
from experiments.arm.arguments import Piece
from experiments.arm.qdhf import run_one
from experiments.arm.table import figure_of
from qdfeedback.bounds import Bounds, Count, Share, read_arguments
from qdfeedback.commands import run_main
from qdfeedback.parallel import run_all
from qdfeedback.tables import markdown

FIGURES = {
    "QD score All": "qd_score_all", "coverage All": "coverage_all", "QD score Archive": "qd_score_archive",
    "axes accuracy": "axes_accuracy",
}  # fmt: skip


@dataclass(frozen=True)
class Args:
    answers: Count = 250
    """Answers in all."""
    label_noise: Share = 0.0
    """Share of answers turned round at random."""
    seeds: Count = 5
    """Seeds of each variant."""
    evaluations: Annotated[int, Bounds(200)] = 100_000
    """Arms in each run."""
    run: Path = Path("runs/ablation")
    """Folder of the runs."""


def main(argv: Sequence[str] | None = None) -> None:
    """Runs every variant and prints the table."""
    args = read_arguments(Args, argv, __doc__)
    variants: list[tuple[Piece, ...]] = [(), *((piece,) for piece in get_args(Piece))]
    jobs = [
        ArmArgs(
            run=args.run / ("-".join(without) or "all") / f"seed-{seed}", seed=(seed,), without=without,
            answers=args.answers, label_noise=args.label_noise, evaluations=args.evaluations, overwrite=True,
        )
        for without in variants
        for seed in range(args.seeds)
    ]  # fmt: skip
    done = list(tqdm(run_all(run_one, jobs), total=len(jobs), unit="run"))
    rows = []
    for without in variants:
        found = [summary for summary in done if tuple(summary["without"]) == without]
        row = {"left out": ", ".join(without) or "nothing"}
        for title, name in FIGURES.items():
            mean, sd = figure_of(found, name)
            row[title] = f"{mean:.3f}" if name == "axes_accuracy" else f"{mean:.2f} ± {sd:.2f}"
        rows.append(row)
    text = markdown(rows)
    (args.run / "ablation.md").write_text(text)
    print(text)


if __name__ == "__main__":
    run_main(main)
