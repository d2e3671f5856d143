"""What tables over seeds share: finished runs, collected by the row that they belong to."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, TypeVar

from qdfeedback import files
from qdfeedback.run_settings import read_settings

Row = TypeVar("Row", bound=tuple[Any, ...])
Summary = dict[str, Any]


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
        ValueError: There is no summary, a seed counts twice, or runs of a group were not run alike.
    """
    rows: dict[Row, list[Summary]] = {}
    of_groups: dict[str, dict[str, Any]] = {}
    of_rows: dict[Row, dict[str, Any]] = {}
    paths: dict[tuple[Row, int], Path] = {}
    for path in sorted({path for folder in folders for path in Path(folder).rglob("summary.json")}):
        summary = files.read_json(path)
        key = row(summary)
        if key is None:
            continue
        mine = {name: value for name, value in read_settings(path.parent).items() if name not in may_differ}
        common = {name: value for name, value in mine.items() if name not in of_a_row}
        name_of_row = ", ".join(map(str, key))
        for compared, other, which in (
            (common, of_groups.setdefault(alike(key), common), alike(key)),
            (mine, of_rows.setdefault(key, mine), name_of_row),
        ):
            if different := [name for name in compared if compared[name] != other.get(name)]:
                raise ValueError(f"{path.parent} differs in {', '.join(different)} from other runs of {which}")
        twice = paths.setdefault((key, summary["seed"]), path.parent)
        if twice != path.parent:
            where = f"in {twice} and {path.parent}"
            raise ValueError(f"{name_of_row}: the same seed counts twice, {where}; name each run once")
        rows.setdefault(key, []).append(summary)
    if not rows:
        raise ValueError(f"there is no finished run (summary.json) below {', '.join(map(str, folders))}")
    return rows
