"""The papers' table of text searches: means with 95 % bootstrap intervals over seeds, beside the paper's figures.

    for m in lmx-near quality-only rouge novelty; do
      python -m experiments.writing.qdaif --method $m --seed 0 1 2 3 4 --run runs/methods/$m; done
    python -m experiments.writing.table runs/methods --out runs/methods-table

Every `summary.json` below the given folders counts; runs of one domain, its axes, one method and one beginning make one
row, and all rows of one domain and axes must have been run alike. Writes table.md, table.csv and table.png. The paper's
models are not ours: its figures stand there for the order of the methods, not to be met.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, get_args

import numpy as np
import tyro

from experiments.writing.arguments import Method
from qdfeedback import viz
from qdfeedback.bounds import read_arguments
from qdfeedback.commands import run_main
from qdfeedback.csv_files import read_table
from qdfeedback.run_settings import MAY_DIFFER
from qdfeedback.tables import Interval, Summary, bootstrap, collect, markdown, signed, write_table, written

Key = tuple[str, str, str]  # domain and axes, method, beginning
OURS = "lmx-near"
ORDER = get_args(Method)
NOTE = (
    "Means over seeds with 95 % bootstrap intervals, as in the paper (over five seeds these are narrow: they hold the "
    "truth about five times of six); leads with 95 % intervals by Welch's t. QD scores are sums over cells."
)
FIGURES = {
    "qd_score": "QD score",
    "true_qd_score": "by truth, elites",
    "true_qd_score_all": "by truth, all",
    "coverage": "coverage, %",
}

PAPER: dict[Key, Interval] = {
    (row["axes"], row["method"], row["begin"]): (float(row["mean"]), float(row["low"]), float(row["high"]))
    for _, row in read_table(Path(__file__).with_name("published.csv")).records()
}
"""Bradley 2024: means and 95 % bootstrap intervals of the QD score over 5 seeds."""
FREE = ("id", "seed", "attributes", "axes", "checkpoint_every", *MAY_DIFFER)
"""Settings in which runs of a row may differ; the questions themselves are compared, not the file that held them."""
OF_A_ROW = ("method", "begin", "seeded")
"""Settings in which rows that are compared may differ."""


@dataclass(frozen=True)
class Args:
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders with finished runs in them, at any depth."""
    out: Path = Path("runs/methods-table")
    """Folder for the table and the figure."""


def row_of(summary: Summary) -> Key | None:
    """Returns the row that a run belongs to."""
    if "axes" not in summary or "begin" not in summary:
        return None  # another experiment
    return f"{summary['domain']}: {', '.join(summary['axes'])}", summary["method"], summary["begin"]


def ordered(rows: Mapping[Key, list[Summary]]) -> dict[Key, list[Summary]]:
    """Returns the rows in the order of the table."""
    return dict(sorted(rows.items(), key=lambda one: (one[0][0], one[0][2] != "seeds", ORDER.index(one[0][1]))))


def table(rows: Mapping[Key, Sequence[Summary]]) -> list[dict[str, str]]:
    """Returns the table, a dict of cells for each row."""
    found = []
    for key, summaries in rows.items():
        axes, method, begin = key
        row = {"domain: axes": axes, "method": method + (", zero-shot" if begin == "zero-shot" else "")}
        row["seeds"] = str(len(summaries))
        for figure, title in FIGURES.items():
            known = [summary[figure] for summary in summaries if figure in summary]
            row[title] = written(bootstrap(known)) if known else "–"
        row["paper"] = written(PAPER[key]) if key in PAPER else "–"
        ours = rows.get((axes, OURS, begin))
        for figure, title in (("qd_score", f"{OURS} ahead by"), ("true_qd_score", "by truth")):
            both = ours is not None and method != OURS and all(figure in one for one in [*ours, *summaries])
            row[title] = signed([s[figure] for s in ours or ()], [s[figure] for s in summaries]) if both else "–"
        row["candidates"] = f"{np.mean([s['evaluations'] for s in summaries]):,.0f}"
        row["calls"] = f"{np.mean([s['requests'] for s in summaries]):,.0f}"
        tokens = [s["prompt_tokens"] + s["completion_tokens"] for s in summaries]
        row["tokens, M"] = f"{np.mean(tokens) / 1e6:.2f}"
        found.append(row)
    return found


def draw(rows: Mapping[Key, Sequence[Summary]], path: Path) -> None:
    """Draws QD scores in percent of the most there can be, by the judge and by the truth, beside the paper's."""
    figure, axes = viz.figure(2, width=6.0, height=1.4 + 0.4 * len(rows))
    places = np.arange(len(rows))[::-1].tolist()
    several = len({axes_ for axes_, _, _ in rows}) > 1
    labels = [
        (f"{axes_}  " if several else "") + method + (", zero-shot" if begin == "zero-shot" else "")
        for axes_, method, begin in rows
    ]
    most = {key: found[0]["cells"] * found[0]["highest"] / 100 for key, found in rows.items()}
    for name, label, colour, shift in (
        ("qd_score", "by the judge", viz.ACCENT, 0.12), ("true_qd_score", "elites by the truth", viz.SECOND, -0.12),
    ):  # fmt: skip
        drawn = [
            (place + shift, bootstrap([summary[name] / most[key] for summary in found]))
            for place, (key, found) in zip(places, rows.items(), strict=True)
            if all(name in summary for summary in found)
        ]
        viz.intervals(axes[0], drawn, label=label, colour=colour)
    known = [(place, key) for place, key in zip(places, rows, strict=True) if key in PAPER]
    paper = [(place, tuple(value / most[key] for value in PAPER[key])) for place, key in known]
    viz.intervals(axes[1], [(y, (mean, low, high)) for y, (mean, low, high) in paper], label="paper", colour=viz.INK)
    viz.rows_of_figures(axes[0], labels, most=100, title="QD score in %, this code")
    viz.rows_of_figures(axes[1], [""] * len(rows), most=100, title="QD score in %, Bradley 2024")
    viz.save(figure, path)


def main(argv: Sequence[str] | None = None) -> None:
    """Writes the table and prints it."""
    args = read_arguments(Args, argv, __doc__)
    rows = ordered(collect(args.runs, row_of, alike=lambda row: row[0], may_differ=FREE, of_a_row=OF_A_ROW))
    found = table(rows)
    text = f"{markdown(found)}\n{NOTE}\n"
    write_table(args.out, found, text)
    draw(rows, args.out / "table.png")
    print(text)
    print(f"written: {args.out}/table.md, table.csv, table.png")


if __name__ == "__main__":
    run_main(main)
