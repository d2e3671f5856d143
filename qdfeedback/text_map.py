"""Texts by the cell that they lie in: as a table to open in a spreadsheet, and as a page to read."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import pairwise
from pathlib import Path

import numpy as np

from qdfeedback import files
from qdfeedback.csv_files import write_csv
from qdfeedback.encoders.attributes import Attribute
from qdfeedback.types import Elites
from qdfeedback.writing import Writing, bins_of, words_of

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #1f2933; margin: 2rem auto; max-width: 96rem; padding: 0 1rem }}
table {{ border-collapse: separate; border-spacing: 3px; table-layout: fixed; width: 100% }}
th {{ font-weight: 600; font-size: .8rem; vertical-align: bottom; text-align: left }}
tbody th {{ width: 7rem; vertical-align: top }}
td {{ background: #f1f4f6; vertical-align: top; border-radius: 4px; padding: 0 }}
details {{ padding: .35rem .5rem; border-radius: 4px }}
summary {{ cursor: pointer; list-style: none; font-size: .8rem; overflow-wrap: anywhere }}
summary b {{ display: block }}
p {{ margin: .4rem 0 0; white-space: pre-line }}
</style>
<h1>{title}</h1>
<p>{about}</p>
<div style="overflow-x: auto"><table><thead><tr><th></th>{head}</tr></thead><tbody>
{rows}
</tbody></table></div>
</html>
"""
BEGINNING = 60  # characters of a text that are seen before it is opened


def cell_names(axis: Attribute, edges: Sequence[float]) -> list[str]:
    """Returns what each cell of an axis is called: categories, or the range of the first answer's probability."""
    if axis.kind == "category":
        return list(axis.answers)
    return [f"{low:g}-{high:g}" for low, high in pairwise(edges)]


def write_texts(path: Path, writing: Writing, found: Elites) -> None:
    """Writes every elite with its cell and scores as `elites.csv`, and as a page to read, `texts.html`.

    The page is a table of cells, the first axis across and the second down; a cell opens to its text.
    """
    bins = bins_of(writing)
    dims = bins.dims
    cells = np.minimum(found.measures.astype(int), np.array(dims) - 1)
    names = [cell_names(axis, edges) for axis, edges in zip(writing.axes, bins.edges, strict=True)]
    rows = []
    there: dict[tuple[int, ...], int] = {}
    for i in np.lexsort(cells.T[::-1]):
        cell = tuple(int(number) for number in cells[i])
        there[cell] = int(i)
        where = [of_axis[number] for of_axis, number in zip(names, cell, strict=True)]
        rows.append([int(found.ids[i]), *where, round(float(found.objective[i]), 4), str(found.solutions[i])])
    write_csv(path / "elites.csv", ["id", *(axis.name for axis in writing.axes), "quality", "text"], rows)
    files.write_atomic(path / "texts.html", _page(writing, dims, names, there, found).encode())


def _page(
    writing: Writing, dims: tuple[int, ...], names: list[list[str]], there: dict[tuple[int, ...], int], found: Elites
) -> str:
    across, down = writing.axes[0], writing.axes[1] if len(dims) > 1 else None
    words = words_of(across, dims[0])
    columns = range(dims[0])
    head = "".join(f"<th>{escape(words(x))}<br><small>{escape(names[0][x])}</small></th>" for x in columns)
    rows = []
    for y in reversed(range(dims[1])) if down is not None else [0]:
        label = "" if down is None else f"{escape(words_of(down, dims[1])(y))}<br><small>{escape(names[1][y])}</small>"
        filled = [_cell(there.get((x, y) if down is not None else (x,)), found, writing.highest) for x in columns]
        rows.append(f"<tr><th>{label}</th>{''.join(filled)}</tr>")
    axes = " by ".join(axis.name for axis in writing.axes)
    about = (
        f"The best {writing.what} of each of {np.prod(dims)} cells, {len(found)} filled; its quality, of "
        f"{writing.highest:g}, above it. Click to read. Everything here is as the judge sees it."
    )
    title = escape(f"{writing.what} archive: {axes}".capitalize())
    return PAGE.format(title=title, about=about, head=head, rows="\n".join(rows))


def _cell(i: int | None, found: Elites, highest: float) -> str:
    if i is None:
        return "<td></td>"
    text, share = str(found.solutions[i]), float(np.clip(found.objective[i] / highest, 0, 1))
    begin = text if len(text) <= BEGINNING else f"{text[:BEGINNING].rsplit(' ', 1)[0]} …"
    colour = f"hsl(190 60% {96 - 34 * share:.0f}%)"
    return (
        f'<td><details style="background: {colour}"><summary><b>{found.objective[i]:.2f}</b>{escape(begin)}'
        f"</summary><p>{escape(text)}</p></details></td>"
    )
