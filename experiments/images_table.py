"""The table of methods that fill a set with pictures: means over seeds, intervals, leads of QDHF.

    for m in qdhf-active qdhf best-of-n best-of-n-plus; do
      python -m experiments.qdhf_images --method $m --seed 0 1 2 3 4 --run runs/images/$m; done
    python -m experiments.images_table runs/images --out runs/images-table

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

from experiments.command import run_main
from experiments.qdhf_images import Method
from experiments.tables import Summary, bootstrap, collect, lead, markdown, signed, write_table, written

Key = tuple[str, str, int]  # prompt, method, answers
OURS, BASE = "qdhf-active", "best-of-n"
ORDER = get_args(Method)
MAY_DIFFER = ("id", "seed", "study", "prompt", "prices", "cap")
OF_A_ROW = ("method", "judgments", "rounds")
FIGURES = {
    "clip": "CLIP score",
    "alignment_true": "named is there",
    "distance_mean": "distance",
    "vendi": "Vendi score",
    "entropy": "attribute entropy",
    "coverage_true": "coverage, %",
    "qd_score_true": "QD score",
    "unreadable": "unreadable",
}
"""Of a set: score, share of what the prompt names, pairwise distance, Vendi score, entropy; of all pictures: coverage
and QD score over the true attributes that stay fixed."""
COMPARED = ("distance_mean", "vendi", "entropy")


@dataclass(frozen=True)
class Args:
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders with finished runs in them, at any depth."""
    out: Path = Path("runs/images-table")
    """Folder for the table."""


def row_of(summary: Summary) -> Key | None:
    """Returns the row that a run belongs to."""
    if "set_ids" not in summary:
        return None  # another experiment
    return summary["prompt"], summary["method"], summary["judgments"]


def figure(summary: Summary, name: str) -> float:
    """Returns a figure of a run, NaN where it has none."""
    return float(summary["scores"].get(name, summary.get(name, np.nan)))


def table(rows: Mapping[Key, Sequence[Summary]]) -> list[dict[str, str]]:
    """Returns the table, a dict of cells for each row."""
    found = []
    for (prompt, method, judgments), summaries in rows.items():
        row = {"prompt": prompt, "method": method, "answers": f"{judgments:,}", "seeds": str(len(summaries))}
        for name, title in FIGURES.items():
            known = [figure(one, name) for one in summaries]
            row[title] = written(bootstrap(known)) if np.isfinite(known).all() else "–"
        ours = next((of for key, of in rows.items() if key[:2] == (prompt, OURS)), None)
        base = next((of for key, of in rows.items() if key[:2] == (prompt, BASE)), None)
        for name in COMPARED:
            both = ours is not None and method != OURS
            told = signed([figure(one, name) for one in ours or ()], [figure(one, name) for one in summaries])
            row[f"{OURS} ahead in {FIGURES[name]}"] = told if both else "–"
        for name in ("clip", "alignment_true"):
            ratio = "–"
            if base is not None and method != BASE and len(base) > 2 and len(summaries) > 2:
                mean = np.mean([figure(one, name) for one in base])
                ends = np.array(lead([figure(one, name) for one in summaries], [figure(one, name) for one in base]))
                middle, low, high = 1 + ends / mean
                ratio = f"{middle:.3f} [{low:.3f}, {high:.3f}]"
            row[f"{FIGURES[name]} of {BASE}'s"] = ratio
        found.append(row)
    return found


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
    args = tyro.cli(Args, description=__doc__, args=argv)
    rows = collect(args.runs, row_of, alike=lambda row: row[0], may_differ=MAY_DIFFER, of_a_row=OF_A_ROW)
    rows = dict(sorted(rows.items(), key=lambda one: (one[0][0], ORDER.index(one[0][1]), one[0][2])))
    found = table(rows)
    text = markdown(found) + (
        "\nMeans over seeds with 95 % bootstrap intervals; leads and ratios with 95 % intervals by Welch's t.\n\n"
        "Axes: |rank correlation| of the better axis with that value of an attribute that fits best; means\n\n"
    )
    text += "\n".join(f"- {line}" for line in axes_lines(rows)) + "\n"
    write_table(args.out, found, text)
    print(text)


if __name__ == "__main__":
    run_main(main)
