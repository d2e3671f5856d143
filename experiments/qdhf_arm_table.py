"""The paper's table from finished runs: mean ± standard deviation over seeds, beside the reference figures.

    python -m experiments.qdhf_arm_table runs/gt runs/qdhf runs/active --out runs/table

Every `summary.json` below the given folders counts. Runs of one method, number of judgments and share of flipped
labels make one row. Writes table.md, table.csv and table.png.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from experiments.command import run_main
from experiments.tables import Summary, collect
from qdfeedback import viz
from qdfeedback.bounds import read_arguments
from qdfeedback.csv_files import write_csv

Key = tuple[str, int, float]
FIGURES = ("qd_score_all", "coverage_all", "qd_score_archive", "coverage_archive")
TITLES = ("QD score All", "Coverage All", "QD score Archive", "Coverage Archive")
OF_A_ROW = ("seed", "study", "database", "checkpoint_every")
"""Settings in which runs of one row may differ."""
METHODS = ("gt", "qdhf-active", "qdhf", "qdhf-base", "aurora-pca-inc", "aurora-ae-inc", "aurora-pca", "aurora-ae")

# The authors' released code run again: (method, judgments, flipped) → mean and sd of each figure that is known.
REFERENCE: dict[Key, tuple[tuple[float, float] | None, ...]] = {
    ("gt", 0, 0.0): ((74.9, 0.3), (79.6, 0.4), (74.9, 0.3), (79.6, 0.4)),
    ("qdhf", 1000, 0.0): ((72.3, 2.1), (77.1, 2.1), (56.2, 1.9), (59.5, 1.9)),
    ("qdhf-base", 1000, 0.0): ((56.4, 4.4), (63.2, 3.2), (32.6, 4.0), (34.5, 3.9)),
    ("aurora-pca-inc", 0, 0.0): ((52.7, 13.1), (63.0, 8.4), (24.3, 10.6), (25.6, 10.9)),
    ("aurora-ae-inc", 0, 0.0): ((58.7, 7.5), (66.7, 4.7), (21.2, 4.9), (22.5, 5.0)),
    ("aurora-pca", 0, 0.0): ((44.7, 15.8), (59.2, 10.6), (17.5, 6.1), (23.5, 7.8)),
    ("aurora-ae", 0, 0.0): ((42.0, 14.3), (58.6, 9.1), (16.3, 6.0), (21.7, 6.4)),
    ("qdhf", 1000, 0.05): ((70.8, 2.5), (75.8, 2.2), (49.8, 10.6), None),
    ("qdhf", 1000, 0.1): ((68.7, 5.0), (73.8, 4.1), (47.2, 11.0), None),
    ("qdhf", 1000, 0.2): ((65.6, 7.1), (71.2, 5.8), (42.8, 8.6), None),
    ("qdhf", 100, 0.0): ((50.5, 12.3), (60.6, 8.6), (22.6, 5.6), None),
    ("qdhf", 200, 0.0): ((56.6, 11.8), (65.9, 8.5), (24.1, 6.0), None),
    ("qdhf", 400, 0.0): ((64.3, 6.1), (70.5, 4.4), (32.5, 8.3), None),
    ("qdhf", 2000, 0.0): ((73.0, 0.7), (77.5, 1.0), (57.3, 0.3), None),
    ("qdhf", 4000, 0.0): ((73.2, 0.7), (78.0, 0.4), (57.6, 0.3), None),
}


@dataclass(frozen=True)
class Args:
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders with finished runs in them, at any depth."""
    out: Path = Path("runs/table")
    """Folder for the table and the figure."""


def row_of(summary: Summary) -> Key | None:
    """Returns the row that a run belongs to."""
    if "label_noise" not in summary or summary.get("without"):
        return None  # another experiment, or part of an ablation
    return summary["method"], summary["judgments"], summary["label_noise"]


def ordered(rows: Mapping[Key, list[Summary]]) -> dict[Key, list[Summary]]:
    """Returns the rows in the order of the table."""
    return dict(sorted(rows.items(), key=lambda item: (METHODS.index(item[0][0]), item[0][2], item[0][1])))


def mean_sd(found: Sequence[Summary], figure: str) -> tuple[float, float]:
    """Returns mean and standard deviation of a figure over seeds; the latter is NaN for one seed."""
    values = np.array([summary[figure] for summary in found], dtype=float)
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else float("nan")


def markdown(rows: Mapping[Key, Sequence[Summary]]) -> str:
    """Returns the table as Markdown: ours, and the reference in parentheses where there is one."""
    lines = [
        "| method | judgments | flipped | seeds | " + " | ".join(TITLES) + " | accuracy |",
        "|---|---|---|---|" + "---|" * 5,
    ]
    for key, found in rows.items():
        cells = []
        for i, figure in enumerate(FIGURES):
            known = REFERENCE.get(key, (None,) * 4)[i]
            cells.append(_figure(mean_sd(found, figure)) + (f" ({_figure(known)})" if known else ""))
        accuracy = [summary["judgment_accuracy"] for summary in found if summary["judgment_accuracy"] is not None]
        cells.append(f"{np.mean(accuracy):.3f}" if accuracy else "–")
        method, judgments, noise = key
        lines.append(f"| {method} | {judgments or '–'} | {noise:.0%} | {len(found)} | " + " | ".join(cells) + " |")
    lines.append("\nMean ± standard deviation over seeds; in parentheses the authors' released code, run again.")
    return "\n".join(lines) + "\n"


def draw(rows: Mapping[Key, Sequence[Summary]], path: Path) -> None:
    """Draws QD scores of every row, with the reference beside it."""
    figure, axes = viz.figure(2, width=5.5, height=1.2 + 0.5 * len(rows))
    labels = [
        method + (f", {judgments:,}" if judgments else "") + (f", {noise:.0%} flipped" if noise else "")
        for method, judgments, noise in rows
    ]
    places = np.arange(len(rows))[::-1]
    for ax, i in zip(axes, (0, 2), strict=True):
        ours = [mean_sd(found, FIGURES[i]) for found in rows.values()]
        ax.errorbar(
            [m for m, _ in ours],
            places + (0.1 if REFERENCE.keys() & rows.keys() else 0),
            xerr=np.nan_to_num([s for _, s in ours]),
            fmt="o",
            color=viz.ACCENT,
            label="this code",
            capsize=3,
        )
        known = [(place, REFERENCE[key][i]) for place, key in zip(places, rows, strict=True) if key in REFERENCE]
        drawn = [(place, *figures) for place, figures in known if figures]
        if drawn:
            ax.errorbar(
                [m for _, m, _ in drawn],
                [p - 0.15 for p, _, _ in drawn],
                xerr=[s for _, _, s in drawn],
                fmt="s",
                color=viz.SECOND,
                alpha=0.7,
                label="released code",
                capsize=3,
            )
        ax.set_yticks(places, labels)
        ax.set_xlim(0, 80)
        ax.set_ylim(-0.6, len(rows) - 0.4)
        ax.set_title(TITLES[i], color=viz.INK, fontsize=11)
        ax.grid(alpha=0.2)
        ax.legend(frameon=False, fontsize=9, loc="upper left")
    viz.save(figure, path)


def _figure(value: tuple[float, float]) -> str:
    return f"{value[0]:.1f}" if np.isnan(value[1]) else f"{value[0]:.1f} ± {value[1]:.1f}"


def main(argv: Sequence[str] | None = None) -> None:
    """Writes the table and prints it."""
    args = read_arguments(Args, argv, __doc__)
    rows = ordered(collect(args.runs, row_of, alike=str, may_differ=OF_A_ROW))
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "table.md").write_text(markdown(rows))
    names = ["method", "judgments", "flipped", "seeds", *(f"{f}_{x}" for f in FIGURES for x in ("mean", "sd"))]
    cells = [
        [*key, len(found), *(value for f in FIGURES for value in mean_sd(found, f))] for key, found in rows.items()
    ]
    write_csv(args.out / "table.csv", names, cells)
    draw(rows, args.out / "table.png")
    print(markdown(rows))
    print(f"written: {args.out}/table.md, table.csv, table.png")


if __name__ == "__main__":
    run_main(main)
