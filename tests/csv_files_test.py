from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from qdfeedback import csv_files


def table(path: Path, needed: tuple[str, ...] = ()) -> list[dict[str, str]]:
    return [cells for _, cells in csv_files.read_table(path, needed).records()]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_what_spreadsheets_save_is_read(tmp_path: Path, encoding: str, end: str, separator: str) -> None:
    rows = [["id", "note"], ["1", f'"Müller{separator} ""x"""'], ["2", ""]]
    text = end.join(separator.join(row) for row in rows) + end
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    assert table(tmp_path / "t.csv") == [{"id": "1", "note": f'Müller{separator} "x"'}, {"id": "2", "note": ""}]


def test_separators_are_told_by_the_first_line_or_by_the_columns_that_are_needed(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"sep=;\r\na,b;c\r\n1,5;2\r\n")
    assert list(csv_files.read_table(path).records()) == [(f"{path}, line 3", {"a,b": "1,5", "c": "2"})]
    path.write_bytes(b'near;far;"notes, if any, of those, who asked"\n1;2;x\n')
    assert csv_files.read_table(path).separator == ";"
    path.write_bytes(b"near;far;notes, if any, of those, who asked\n1;2;x\n")
    assert csv_files.read_table(path, ("near", "far")).names[:2] == ("near", "far")
    path.write_bytes(b"one column\nof text; with, marks\n")
    with pytest.raises(ValueError, match=r"t\.csv, line 2: 2 cells for 1 columns"):
        table(path)


def test_blank_rows_and_columns_are_passed_over_and_lines_are_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b'\r\nNear , FAR,Else,,\r\n1,2,"a\nb",,\r\n,,,,\r\n\r\n3,4,c,,\r\n')
    assert list(csv_files.read_table(path, ("near", "far")).records()) == [
        (f"{path}, line 3", {"near": "1", "far": "2", "Else": "a\nb"}),
        (f"{path}, line 7", {"near": "3", "far": "4", "Else": "c"}),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"t\.csv is empty: a line with the names"),
        (" \n;;\n", r"t\.csv is empty"),
        ("<html>", "a web page or XML"),
        ("0,1\n2,3\n", r"line 1: the first line must name the columns: near, far; far, near not found in 0, 1"),
        ("near,fare\n", r"line 1: columns are missing: near, far; far not found in near, fare$"),
        ("near far\n", r"not found in near far \(cells are separated by comma, semicolon, tab\)"),
        ("near,far,near\n", "line 1: a column stands there twice: 'near'"),
        ("near,far\n1,2\n\n3\n", r"t\.csv, line 4: 1 cells for 2 columns$"),
        ("near,far\n1,2,x\n", r"t\.csv, line 2: 3 cells for 2 columns$"),
        ("near,far\n1,5,2,5\n", r"line 2: 4 cells for 2 columns: are decimals written with a comma\?"),
        ('near,far\n1,2\n3,"4\n5,6\n', r"t\.csv, line 3: a quote that is never closed; is the file cut off\?"),
        (
            "near,far" + "x" * 1000 + "\n",
            r"line 1: columns are missing: near, far; far not found in near, farx{65,70}…$",
        ),
        ('near,"far\nthings"\n1,2\n', "line 1: .* far not found in near, far things$"),
        ('near,far\n1,"2" x\n', r"t\.csv, line 2: no CSV: ',' expected after '\"'"),
    ],
)
def test_what_is_no_such_table_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "t.csv").write_bytes(text.encode())
    with pytest.raises(ValueError, match=said):
        table(tmp_path / "t.csv", ("near", "far"))


def test_numbers_of_cells() -> None:
    assert csv_files.whole_number(" -12 ", "here") == -12
    assert csv_files.number(" 1.5e3", "here") == 1500
    for cell, said in (
        ("", r"here: a whole number is expected, got '' \(an empty cell\)"), ("1.5", "got '1.5': it is not whole"),
        ("1.0", "'1.0': write it without a point"), ("1,5", "'1,5': decimals need a point"), ("1_000", "'1_000'"),
        ("x", "'x'$"), ("١", "'١'"), ("nan", "'nan'"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=said):
            csv_files.whole_number(cell, "here")
    for cell, said in (
        ("1,5", "here: a number is expected, got '1,5': decimals need"),
        ("inf", "'inf'"),
        ("1_0", "1_0"),
    ):
        with pytest.raises(ValueError, match=said):
            csv_files.number(cell, "here")


LIVE = ["=1+1", "+1-1", "-2+3", "@SUM(1)", "\t=1", "\r=1", "\n=1", "  =1", "'=1", "''@x", "＝1", "-"]
PLAIN = ["", "a=b", "'quoted'", "1-1", "don't", " plain", "'", "a\r", "é"]


def test_no_text_becomes_a_formula_and_all_texts_come_back(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    csv_files.write_csv(path, ["n", "=text"], [[i, text] for i, text in enumerate([*LIVE, *PLAIN])])
    with path.open(newline="", encoding="utf-8") as file:
        cells = [row[1] for row in csv.reader(file)]
    assert cells[1 : 1 + len(LIVE)] == [f"'{text}" for text in LIVE]
    assert cells[1 + len(LIVE) :] == PLAIN
    assert cells[0] == "'=text"
    assert [row["=text"] for row in table(path)] == [*LIVE, *PLAIN]


def test_numbers_are_written_as_they_are(tmp_path: Path) -> None:
    values = [-1, -1.5, np.float32(-2.5), np.int64(-3), None, True, float("nan")]
    csv_files.write_csv(tmp_path / "t.csv", list("abcdefg"), [values])
    assert (tmp_path / "t.csv").read_bytes() == b"a,b,c,d,e,f,g\r\n-1,-1.5,-2.5,-3,,True,nan\r\n"
    csv_files.write_csv(tmp_path / "t.csv", ["a"], [[Path("=x")], ["\ud800"]])
    assert (tmp_path / "t.csv").read_bytes() == b"a\r\n'=x\r\n\\ud800\r\n"


def test_rows_with_names_keep_the_columns_of_the_first(tmp_path: Path) -> None:
    csv_files.write_csv_records(tmp_path / "t.csv", [{"b": 1, "a": "-x"}, {"b": 2}])
    assert (tmp_path / "t.csv").read_bytes() == b"b,a\r\n1,'-x\r\n2,\r\n"
    with pytest.raises(ValueError, match=r"the columns of .*t\.csv are b, a later row has 'c' too"):
        csv_files.write_csv_records(tmp_path / "t.csv", [{"b": 1}, {"c": 1}])
    csv_files.write_csv_records(tmp_path / "t.csv", [])
    assert (tmp_path / "t.csv").read_bytes() == b"\r\n"


@pytest.mark.parametrize("text", ["\u2028", "\x0b", "\x85\n", '""\n', "sep=;\n", '"\'\t"\n'])
def test_a_table_of_what_cannot_be_seen_is_empty(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.csv").write_bytes(text.encode())
    for needed in ((), ("near",)):
        with pytest.raises(ValueError, match=r"t\.csv(, line \d)?(:| is empty)"):
            csv_files.read_table(tmp_path / "t.csv", needed)
