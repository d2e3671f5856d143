"""The papers' table of text searches: means with 95 % bootstrap intervals over seeds, beside the paper's figures.

    for m in lmx-near quality-only rouge novelty; do
      python -m experiments.qdaif_writing --method $m --seed 0 1 2 3 4 --run runs/methods/$m; done
    python -m experiments.qdaif_table runs/methods --out runs/methods-table

Every `summary.json` below the given folders counts; runs of one domain, its axes, one method and one beginning make one
row, and all rows of one domain and axes must have been run alike. Writes table.md, table.csv and table.png. The paper's
models are not ours: its figures stand there for the order of the methods, not to be met.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

import numpy as np
import tyro

from experiments.command import run_main
from experiments.qdaif_writing import Method
from experiments.tables import Interval, Summary, bootstrap, collect, markdown, signed, write_table, written
from qdfeedback import viz
from qdfeedback.bounds import read_arguments

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

# Bradley 2024, means and 95 % bootstrap intervals over 5 seeds: method → QD score for each set of axes.
_SETS = ("opinions: sentiment", "stories: genre", "stories: ending", "stories: genre, ending")
_PAPER: dict[str, tuple[Interval, ...]] = {
    "lmx-near": ((19.94, 19.91, 19.97), (19.52, 19.36, 19.67), (19.86, 19.81, 19.92), (70.84, 68.61, 73.02)),
    "novelty-quality": ((19.40, 19.34, 19.47), (16.16, 14.68, 17.61), (19.34, 19.23, 19.45), (65.69, 61.45, 70.12)),
    "novelty": ((19.44, 19.37, 19.52), (16.87, 15.71, 18.00), (19.32, 19.23, 19.42), (61.08, 59.38, 63.65)),
    "rouge-quality": ((19.35, 19.27, 19.42), (16.03, 15.81, 16.26), (19.25, 19.11, 19.40), (56.99, 56.43, 57.65)),
    "rouge": ((18.84, 18.60, 19.04), (15.00, 14.34, 15.74), (17.93, 17.39, 18.42), (45.41, 42.88, 48.09)),
    "quality-only": ((19.43, 19.35, 19.51), (14.92, 14.23, 15.51), (18.68, 17.89, 19.37), (47.49, 41.65, 52.43)),
    "random-search": ((18.81, 18.67, 18.97), (13.84, 12.81, 14.67), (17.57, 16.59, 18.38), (42.79, 37.63, 47.51)),
    "shuffled-few-shot": ((19.20, 19.15, 19.27), (15.75, 15.14, 16.25), (17.73, 16.84, 18.38), (47.04, 46.07, 47.98)),
    "fixed-few-shot": ((19.27, 19.21, 19.32), (15.79, 15.32, 16.12), (17.86, 17.26, 18.48), (48.37, 47.08, 49.63)),
}
PAPER: dict[Key, Interval] = {
    (axes, method, "seeds"): figure
    for method, figures in _PAPER.items()
    for axes, figure in zip(_SETS, figures, strict=True)
} | {
    (axes, method, "zero-shot"): figure
    for method, figures in {
        OURS: ((19.93, 19.90, 19.96), (18.44, 17.06, 19.52), (19.78, 19.70, 19.87)),
        "quality-only": ((19.34, 19.17, 19.49), (14.25, 12.89, 15.14), (17.26, 16.89, 17.56)),
    }.items()
    for axes, figure in zip(_SETS, figures, strict=False)
}
MAY_DIFFER = (
    "id", "seed", "ledger", "prices", "cap", "concurrency", "timeout", "device", "key_variable", "attributes", "axes",
)  # fmt: skip
"""Settings in which runs of a row may differ; the questions themselves are compared, not the file that held them."""
OF_A_ROW = ("method", "begin", "first")
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
        row["candidates"] = f"{np.mean([s['candidates'] for s in summaries]):,.0f}"
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
        _bars(axes[0], drawn, label, colour)
    known = [(place, key) for place, key in zip(places, rows, strict=True) if key in PAPER]
    paper = [(place, tuple(value / most[key] for value in PAPER[key])) for place, key in known]
    _bars(axes[1], [(place, (mean, low, high)) for place, (mean, low, high) in paper], "paper", viz.INK)
    for ax, title in zip(axes, ("QD score in %, this code", "QD score in %, Bradley 2024"), strict=True):
        ax.set_yticks(places, labels if ax is axes[0] else [""] * len(rows))
        ax.set_ylim(-0.6, len(rows) - 0.4)
        ax.set_xlim(0, 100)
        ax.set_title(title, color=viz.INK, fontsize=11)
        ax.grid(alpha=0.2)
        ax.spines[["top", "right"]].set_visible(False)
        if ax.get_legend_handles_labels()[0]:
            ax.legend(frameon=False, fontsize=9, loc="best")
    viz.save(figure, path)


def _bars(ax: Any, drawn: Sequence[tuple[float, Interval]], label: str, colour: str) -> None:
    if drawn:
        means = [mean for _, (mean, _, _) in drawn]
        ends = np.nan_to_num([(mean - low, high - mean) for _, (mean, low, high) in drawn]).T
        ax.errorbar(means, [y for y, _ in drawn], xerr=ends, fmt="o", color=colour, label=label, capsize=3)


def main(argv: Sequence[str] | None = None) -> None:
    """Writes the table and prints it."""
    args = read_arguments(Args, argv, __doc__)
    rows = ordered(collect(args.runs, row_of, alike=lambda row: row[0], may_differ=MAY_DIFFER, of_a_row=OF_A_ROW))
    found = table(rows)
    text = f"{markdown(found)}\n{NOTE}\n"
    write_table(args.out, found, text)
    draw(rows, args.out / "table.png")
    print(text)
    print(f"written: {args.out}/table.md, table.csv, table.png")


if __name__ == "__main__":
    run_main(main)
