"""The paper's table from finished runs: mean ± standard deviation over seeds, beside the reference figures.

    python -m experiments.arm.table runs/gt runs/qdhf runs/active --out runs/table

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

from qdfeedback import viz
from qdfeedback.bounds import read_arguments
from qdfeedback.commands import run_main
from qdfeedback.csv_files import read_table, write_csv
from qdfeedback.run_settings import MAY_DIFFER
from qdfeedback.tables import Summary, collect, markdown, mean_sd

Key = tuple[str, int, float]
FIGURES = ("qd_score_all", "coverage_all", "qd_score_archive", "coverage_archive")
TITLES = ("QD score All", "Coverage All", "QD score Archive", "Coverage Archive")
OF_A_ROW = ("seed", "study", "checkpoint_every", *MAY_DIFFER)
"""Settings in which runs of one row may differ."""
METHODS = ("gt", "qdhf-active", "qdhf", "qdhf-base", "aurora-pca-inc", "aurora-ae-inc", "aurora-pca", "aurora-ae")


def reference() -> dict[Key, tuple[tuple[float, float] | None, ...]]:
    """Returns what the authors' released code gives, run again: row → mean and sd of each figure that is known."""
    found: dict[Key, tuple[tuple[float, float] | None, ...]] = {}
    for _, row in read_table(Path(__file__).with_name("published.csv")).records():
        known = [(row[f"{name}_mean"], row[f"{name}_sd"]) for name in FIGURES]
        key = (row["method"], int(row["answers"]), float(row["flipped"]))
        found[key] = tuple((float(mean), float(sd)) if mean else None for mean, sd in known)
    return found


REFERENCE = reference()


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
    return summary["method"], summary["answers"], summary["label_noise"]


def ordered(rows: Mapping[Key, list[Summary]]) -> dict[Key, list[Summary]]:
    """Returns the rows in the order of the table."""
    return dict(sorted(rows.items(), key=lambda item: (METHODS.index(item[0][0]), item[0][2], item[0][1])))


def figure_of(found: Sequence[Summary], figure: str) -> tuple[float, float]:
    """Returns mean and standard deviation of a figure over seeds; the latter is NaN for one seed."""
    return mean_sd([summary[figure] for summary in found])


def table(rows: Mapping[Key, Sequence[Summary]]) -> str:
    """Returns the table as Markdown: ours, and the reference in parentheses where there is one."""
    lines = []
    for key, found in rows.items():
        method, answers, noise = key
        row = {"method": method, "answers": f"{answers or '–'}", "flipped": f"{noise:.0%}", "seeds": f"{len(found)}"}
        for figure, title, known in zip(FIGURES, TITLES, REFERENCE.get(key, (None,) * 4), strict=True):
            row[title] = _figure(figure_of(found, figure)) + (f" ({_figure(known)})" if known else "")
        accuracy = [summary["judgment_accuracy"] for summary in found if summary["judgment_accuracy"] is not None]
        row["accuracy"] = f"{np.mean(accuracy):.3f}" if accuracy else "–"
        lines.append(row)
    note = "Mean ± standard deviation over seeds; in parentheses the authors' released code, run again."
    return f"{markdown(lines)}\n{note}\n"


def draw(rows: Mapping[Key, Sequence[Summary]], path: Path) -> None:
    """Draws QD scores of every row, with the reference beside it."""
    figure, axes = viz.figure(2, width=5.5, height=1.2 + 0.5 * len(rows))
    labels = [
        method + (f", {answers:,}" if answers else "") + (f", {noise:.0%} flipped" if noise else "")
        for method, answers, noise in rows
    ]
    shift = 0.1 if REFERENCE.keys() & rows.keys() else 0
    for ax, i in zip(axes, (0, 2), strict=True):
        ours, known = [], []
        for place, (key, found) in zip(range(len(rows))[::-1], rows.items(), strict=True):
            ours.append((place + shift, _ends(*figure_of(found, FIGURES[i]))))
            if figures := REFERENCE.get(key, (None,) * 4)[i]:
                known.append((place - 0.15, _ends(*figures)))
        viz.intervals(ax, ours, label="this code", colour=viz.ACCENT)
        viz.intervals(ax, known, label="released code", colour=viz.SECOND, marker="s")
        viz.rows_of_figures(ax, labels, most=80, title=TITLES[i])
    viz.save(figure, path)


def _ends(mean: float, sd: float) -> tuple[float, float, float]:
    return mean, mean - sd, mean + sd


def _figure(value: tuple[float, float]) -> str:
    return f"{value[0]:.1f}" if np.isnan(value[1]) else f"{value[0]:.1f} ± {value[1]:.1f}"


def main(argv: Sequence[str] | None = None) -> None:
    """Writes the table and prints it."""
    args = read_arguments(Args, argv, __doc__)
    rows = ordered(collect(args.runs, row_of, alike=str, may_differ=OF_A_ROW))
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "table.md").write_text(table(rows))
    names = ["method", "answers", "flipped", "seeds", *(f"{f}_{x}" for f in FIGURES for x in ("mean", "sd"))]
    cells = [
        [*key, len(found), *(value for f in FIGURES for value in figure_of(found, f))] for key, found in rows.items()
    ]
    write_csv(args.out / "table.csv", names, cells)
    draw(rows, args.out / "table.png")
    print(table(rows))
    print(f"written: {args.out}/table.md, table.csv, table.png")


if __name__ == "__main__":
    run_main(main)
