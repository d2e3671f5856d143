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
) -> dict[Row, list[Summary]]:
    """Returns the summaries below the folders, by row of the table, in the order of their paths.

    Args:
        folders: searched for `summary.json` at any depth.
        row: gives the row of a summary; None for one of another experiment.
        alike: names the group of rows whose runs must have been run alike.
        may_differ: settings in which runs of a group may differ.

    Raises:
        ValueError: There is no summary, a seed counts twice, or runs of a group were not run alike.
    """
    rows: dict[Row, list[Summary]] = {}
    settings: dict[str, dict[str, Any]] = {}
    for path in sorted({path for folder in folders for path in Path(folder).rglob("summary.json")}):
        summary = files.read_json(path)
        key = row(summary)
        if key is None:
            continue
        mine = {name: value for name, value in read_settings(path.parent).items() if name not in may_differ}
        other = settings.setdefault(alike(key), mine)
        if different := [name for name in mine if mine[name] != other.get(name)]:
            raise ValueError(f"{path.parent} differs in {', '.join(different)} from other runs of {alike(key)}")
        rows.setdefault(key, []).append(summary)
    if not rows:
        raise ValueError(f"there is no finished run (summary.json) below {', '.join(map(str, folders))}")
    for key, found in rows.items():
        if len({summary["seed"] for summary in found}) < len(found):
            raise ValueError(f"{', '.join(map(str, key))}: the same seed counts twice; name each run once")
    return rows
