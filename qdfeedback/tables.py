"""What tables over seeds share: finished runs, collected by the row that they belong to, and intervals."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from qdfeedback import files
from qdfeedback.csv_files import write_csv_records
from qdfeedback.run_settings import read_settings
from qdfeedback.text_files import why
from qdfeedback.types import Floats

Row = TypeVar("Row", bound=tuple[Any, ...])
Summary = dict[str, Any]
Interval = tuple[float, float, float]  # mean and both ends
RESAMPLES = 100_000


def collect(
    folders: Sequence[Path],
    row: Callable[[Summary], Row | None],
    *,
    alike: Callable[[Row], str],
    may_differ: Collection[str],
    of_a_row: Collection[str] = (),
) -> dict[Row, list[Summary]]:
    """Returns the summaries below the folders, by row of the table, in the order of their paths.

    Args:
        folders: searched for `summary.json` at any depth.
        row: gives the row of a summary; None for one of another experiment.
        alike: names the group of rows whose runs must have been run alike.
        may_differ: settings in which any runs may differ.
        of_a_row: settings in which rows of a group may differ, not the runs of one row.

    Raises:
        ValueError: There is no summary, one is damaged, a seed counts twice, or runs of a group were not run alike.
    """
    rows: dict[Row, list[Summary]] = {}
    of_groups: dict[str, dict[str, Any]] = {}
    of_rows: dict[Row, dict[str, Any]] = {}
    paths: dict[tuple[Row, int], Path] = {}
    for path in sorted({path for folder in folders for path in Path(folder).rglob("summary.json")}):
        summary = files.read_json(path, dict)
        try:
            key = row(summary)
            seed = None if key is None else int(summary["seed"])
            hash(key)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{path} is no summary of a run: {why(error)}") from error
        if key is None or seed is None:
            continue
        mine = {name: value for name, value in read_settings(path.parent).items() if name not in may_differ}
        common = {name: value for name, value in mine.items() if name not in of_a_row}
        name_of_row = ", ".join(map(str, key))
        for compared, other, which in (
            (common, of_groups.setdefault(alike(key), common), alike(key)),
            (mine, of_rows.setdefault(key, mine), name_of_row),
        ):
            names = dict.fromkeys([*compared, *other])  # a run of an earlier version lacks what was added since
            if different := [one for one in names if compared.get(one, "") != other.get(one, "")]:
                raise ValueError(f"{path.parent} differs in {', '.join(different)} from other runs of {which}")
        twice = paths.setdefault((key, seed), path.parent)
        if twice != path.parent:
            where = f"in {twice} and {path.parent}"
            raise ValueError(f"{name_of_row}: the same seed counts twice, {where}; name each run once")
        rows.setdefault(key, []).append(summary)
    if not rows:
        raise ValueError(f"there is no finished run (summary.json) below {', '.join(map(str, folders))}")
    return rows


def bootstrap(values: Sequence[float], *, seed: int = 0) -> Interval:
    """Returns the mean, and the 95 % percentile bootstrap interval of it; one value has no interval."""
    found = np.array(values, dtype=float)
    if len(found) < 2:
        return float(found.mean()), float("nan"), float("nan")
    low, high = np.quantile(_means(found, seed), (0.025, 0.975))
    return float(found.mean()), float(low), float(high)


def lead(ours: Sequence[float], theirs: Sequence[float]) -> Interval:
    """Returns by how much one mean is ahead of another, with its 95 % interval (Welch).

    A bootstrap over five seeds is too narrow for a comparison: it holds the truth five times of six.
    """
    from scipy.stats import ttest_ind

    one, two = np.array(ours, dtype=float), np.array(theirs, dtype=float)
    ends = ttest_ind(one, two, equal_var=False).confidence_interval(0.95)
    return float(one.mean() - two.mean()), float(ends.low), float(ends.high)


def _means(values: Floats, seed: int) -> Floats:
    draws = np.random.default_rng(seed).integers(len(values), size=(RESAMPLES, len(values)))
    found: Floats = values[draws].mean(axis=1)
    return found


def signed(ours: Sequence[float], theirs: Sequence[float], digits: int = 2) -> str:
    """Returns a lead with its interval; fewer than three runs have none."""
    if min(len(ours), len(theirs)) < 3:
        return "–"
    mean, low, high = (f"{value:+.{digits}f}" for value in lead(ours, theirs))
    return f"{mean} [{low}, {high}]"


def written(interval: Interval, digits: int = 2) -> str:
    """Returns a mean with its interval, if it has one."""
    mean, low, high = (f"{value:.{digits}f}" for value in interval)
    return mean if np.isnan(interval[1]) else f"{mean} [{low}, {high}]"


def cell(values: Sequence[float], digits: int = 2) -> str:
    """Returns a mean with its interval; where all values are one, it."""
    return f"{values[0]:g}" if np.ptp(values) == 0 else written(bootstrap(values), digits)


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Returns a mean as a share of another, with its interval; fewer than three runs, or unknown figures, have none."""
    if min(len(ours), len(theirs)) < 3 or not np.isfinite([*ours, *theirs]).all():
        return "–"
    if np.ptp([*ours, *theirs]) == 0:
        return "1.000"
    middle, low, high = 1 + np.array(lead(ours, theirs)) / np.mean(theirs)
    return f"{middle:.3f} [{low:.3f}, {high:.3f}]"


def mean_sd(values: Sequence[float]) -> tuple[float, float]:
    """Returns mean and standard deviation; the latter is NaN for one value."""
    found = np.array(values, dtype=float)
    return float(found.mean()), float(found.std(ddof=1)) if len(found) > 1 else float("nan")


def markdown(rows: Sequence[Mapping[str, str]]) -> str:
    """Returns rows, dicts of cells with the same titles, as a table in Markdown."""
    lines = [f"| {' | '.join(rows[0])} |", "|" + "---|" * len(rows[0])]
    return "\n".join([*lines, *(f"| {' | '.join(row.values())} |" for row in rows)]) + "\n"


def write_table(out: Path, rows: Sequence[Mapping[str, str]], text: str) -> None:
    """Writes rows as table.csv, and what is said of them as table.md."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "table.md").write_text(text)
    write_csv_records(out / "table.csv", rows)
