"""The table of methods that fill a set with pictures: means over seeds, intervals, leads of QDHF.

    for m in qdhf-active qdhf best-of-n best-of-n-plus; do
      python -m experiments.images.qdhf --method $m --seed 0 1 2 3 4 --run runs/images/$m; done
    python -m experiments.images.table runs/images --out runs/images-table

Every `summary.json` below the given folders counts; runs of one prompt and method make one row, with its number of
answers, and all rows of a prompt must have been run alike. Writes table.md and table.csv.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, get_args

import numpy as np
import tyro

from experiments.images.arguments import Method
from experiments.images.report import title
from qdfeedback.bounds import Natural, read_arguments
from qdfeedback.commands import run_main
from qdfeedback.run_settings import MAY_DIFFER
from qdfeedback.tables import Summary, cell, collect, markdown, ratio, signed, write_table

Key = tuple[str, str, int]  # prompt, method and what it varies, answers asked for
OURS, BASE = "qdhf-active", "best-of-n"
ORDER = get_args(Method)
FREE = ("seed", "study", "prompt", "checkpoint_every", *MAY_DIFFER)
OF_A_ROW = ("method", "solutions", "answers", "rounds", "annotator", "judge", "writer", "thoughts", "used")
FIGURES = {
    "answers": "answers",
    "set": "in the set",
    "alignment_true": "named is there",
    "distance_mean": "distance",
    "distance_by_truth": "distance by truth",
    "vendi": "Vendi score",
    "vendi_by_truth": "Vendi score by truth",
    "entropy": "attribute entropy",
    "coverage_true": "coverage, %",
    "qd_score_true": "QD score",
    "unreadable": "unreadable",
}
"""Answers that came; of a set: its size, the share of what the prompt names, mean pairwise distance and Vendi score by
the embedding on which axes were learned and by that of the simulation, attribute entropy; of all pictures: coverage and
QD score over the true attributes that stay fixed. Scores of qualities stand before them."""
COMPARED = ("distance_mean", "distance_by_truth", "vendi", "vendi_by_truth", "entropy")


@dataclass(frozen=True)
class Args:
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders with finished runs in them, at any depth."""
    out: Path = Path("runs/images-table")
    """Folder for the table."""
    ours: str = OURS
    """Method with which the others are compared."""
    answers: Natural | None = None
    """How many it was to have; none = the most that a row of it has."""


def row_of(summary: Summary) -> Key | None:
    """Returns the row that a run belongs to."""
    if "set_ids" not in summary:
        return None  # another experiment
    varied = "" if summary.get("solutions", "noise") == "noise" else f" ({summary['solutions']})"
    return summary["prompt"], summary["method"] + varied, summary["asked"]


def figure(summary: Summary, name: str) -> float:
    """Returns a figure of a run, NaN where it has none."""
    return float(summary["scores"].get(name, summary.get(name, np.nan)))


def known(name: str, *rows: Sequence[Summary]) -> bool:
    """Whether every run of every row has a figure."""
    return all(np.isfinite(figure(one, name)) for summaries in rows for one in summaries)


def table(
    rows: Mapping[Key, Sequence[Summary]], *, ours: str = OURS, answers: int | None = None
) -> list[dict[str, str]]:
    """Returns the table, a dict of cells for each row.

    Raises:
        ValueError: Sets of one prompt are of different sizes, by which diversity cannot be compared.
    """
    scores = list(dict.fromkeys(name for summaries in rows.values() for one in summaries for name in one["scores"]))
    figures = {name: title(name) for name in scores} | FIGURES
    figures = {name: said for name, said in figures.items() if any(known(name, of) for of in rows.values())}
    found = []
    for (prompt, method, asked), summaries in rows.items():
        alike = {key: of for key, of in rows.items() if key[0] == prompt}
        if len(sizes := {one["set"] for of in alike.values() for one in of}) > 1:
            raise ValueError(
                f"sets of {prompt!r} have {min(sizes)} to {max(sizes)} pictures: ask for --set-size {min(sizes)}"
            )
        row = {"prompt": prompt, "method": method, "asked": f"{asked:,}", "seeds": str(len(summaries))}
        for name, said in figures.items():
            values = [figure(one, name) for one in summaries]
            row[said] = cell(values, digits(name)) if known(name, summaries) else "–"
        mine = [key for key in alike if key[1] == ours and answers in (None, key[2])]
        best = max(mine, key=lambda key: key[2], default=None)
        base = alike.get((prompt, BASE, 0))
        for name in (one for one in COMPARED if one in figures):
            told = "–"
            if best is not None and best != (prompt, method, asked) and known(name, rows[best], summaries):
                mine_, theirs = ([figure(one, name) for one in of] for of in (rows[best], summaries))
                told = signed(mine_, theirs, digits(name))
            row[f"{ours} ahead in {figures[name]}"] = told
        for name in (*scores, "alignment_true"):
            if name in figures:
                theirs = [figure(one, name) for one in base or ()]
                row[f"{figures[name]} of {BASE}'s"] = (
                    ratio([figure(one, name) for one in summaries], theirs) if method != BASE else "–"
                )
        found.append(row)
    return found


def digits(name: str) -> int:
    """Returns after how many digits a figure ends: shares and distances are small."""
    return 3 if name in ("alignment_true", "distance_mean", "distance_by_truth", "entropy", "unreadable") else 2


def check_models(of_runs: Sequence[Mapping[str, str]]) -> None:
    """Refuses runs whose pictures were made or seen by models of different content, whatever they are called.

    Raises:
        ValueError: Says which.
    """
    known = [used for used in of_runs if used]
    for used in known:
        if different := [role for role in used if used[role] != known[0].get(role)]:
            role = different[0]
            raise ValueError(f"runs with another {role} cannot be compared: {known[0].get(role)} and {used[role]}")


def axes_lines(rows: Mapping[Key, Sequence[Summary]]) -> list[str]:
    """Returns for each row with axes to which attributes they are tied, over seeds."""
    lines = []
    for (prompt, method, judgments), summaries in rows.items():
        best: dict[str, list[float]] = {}
        for axes in (one["axes"] for one in summaries if "axes" in one):
            for name in axes[0]:
                best.setdefault(name, []).append(max(axis[name] for axis in axes))
        told = sorted(((np.mean(of), name) for name, of in best.items()), reverse=True)
        if told:
            lines.append(
                f"{prompt}, {method}, {judgments:,}: " + ", ".join(f"{name} {mean:.2f}" for mean, name in told)
            )
    return lines


def main(argv: Sequence[str] | None = None) -> None:
    """Writes the table and prints it."""
    args = read_arguments(Args, argv, __doc__)
    rows = collect(args.runs, row_of, alike=lambda row: row[0], may_differ=FREE, of_a_row=OF_A_ROW)
    check_models([one.get("seen_by", {}) for summaries in rows.values() for one in summaries])
    rows = dict(sorted(rows.items(), key=lambda one: (one[0][0], ORDER.index(one[0][1].split(" ")[0]), one[0][2])))
    found = table(rows, ours=args.ours, answers=args.answers)
    text = markdown(found) + (
        "\nMeans over seeds with 95 % bootstrap intervals; leads and ratios with 95 % intervals by Welch's t.\n\n"
        "Axes: |rank correlation| of the better axis with that value of an attribute that fits best; means\n\n"
    )
    text += "\n".join(f"- {line}" for line in axes_lines(rows)) + "\n"
    write_table(args.out, found, text)
    print(text)


if __name__ == "__main__":
    run_main(main)
