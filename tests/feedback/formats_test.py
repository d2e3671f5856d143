from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from qdfeedback.feedback.formats import read_features, read_triplets

ROWS = [[0, 1, 2], [3, 4, 5]]


def saved(path: Path, array) -> Path:
    np.save(path, np.asarray(array))
    return path


def written(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_triplets_come_in_any_order_of_columns_and_as_spreadsheets_save_them(
    tmp_path: Path, separator: str, encoding: str
) -> None:
    text = "rater,Far,near,ANCHOR\r\nMüller,2,1,0\r\nme,5, 4 ,3\r\n".replace(",", separator)
    assert read_triplets(written(tmp_path / "t.csv", text, encoding), 6).tolist() == ROWS


@pytest.mark.parametrize("dtype", ["i1", "u1", "<i2", ">i4", "i8", "u8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_triplets_of_any_whole_numbers_and_any_order(tmp_path: Path, dtype: str, order) -> None:
    found = read_triplets(saved(tmp_path / "t.npy", np.array(ROWS, dtype=dtype, order=order)), 6)
    assert found.tolist() == ROWS
    assert found.dtype == np.int64


@pytest.mark.parametrize("dtype", ["f2", "<f4", ">f8", "f8", "i2", "u1"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_features_of_any_numbers_and_any_order(tmp_path: Path, dtype: str, order) -> None:
    array = np.array([[1, 2, 3], [4, 5, 6]], dtype=dtype, order=order)
    found = read_features(saved(tmp_path / "f.npy", array))
    assert found.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert found.dtype == np.dtype("=f4")
    assert found.flags.c_contiguous


def test_an_array_is_known_by_what_it_holds(tmp_path: Path) -> None:
    saved(tmp_path / "t.npy", ROWS).rename(tmp_path / "t.csv")
    assert read_triplets(tmp_path / "t.csv").tolist() == ROWS
    assert read_triplets(written(tmp_path / "t.tsv", "anchor\tnear\tfar\n0\t1\t2\n")).tolist() == [[0, 1, 2]]


HEAD = "anchor,near,far\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"t\.csv is empty"),
        (HEAD, r"t\.csv holds no triplets"),
        ("0,1,2\n3,4,5\n", r"line 1: the first line must name the columns: anchor, near, far; .*found in 0, 1, 2"),
        ("anchor,positive,negative\n0,1,2\n", "line 1: columns are missing: .*far, near not found in anchor, positive"),
        (HEAD + "0,1,2\n1,2,x\n", r"t\.csv, line 3: far: a whole number is expected, got 'x'"),
        (HEAD + "0,1,2.5\n", "line 2: far: .*got '2.5': it is not whole"),
        (HEAD + "0,1,2.0\n", "line 2: far: .*got '2.0': write it without a point"),
        (HEAD.replace(",", ";") + "0;1;2,5\n", "line 2: far: .*got '2,5': decimals need a point"),
        (HEAD + "0,1,\n", r"line 2: far: .*got '' \(an empty cell\)"),
        (HEAD + "0,1\n", "line 2: 2 cells for 3 columns"),
        (HEAD + "0,1,2\n" + HEAD + "0,1,2\n", "line 3: anchor: a whole number is expected, got 'anchor'"),
        (HEAD + "0,1,2\n\n0,-1,2\n", r"line 4: there is no item -1: rows of the features count from 0 to 5"),
        (HEAD + "0,1,2\n0,7,2\n", r"line 3: there is no item 7: rows of the features count from 0 to 5$"),
        (HEAD + "1,2,3\n4,5,6\n", r"line 3: there is no item 6: .*; these seem to count from 1: take 1 from each"),
        (HEAD + "0,1,1" + "0" * 30 + "\n", "line 2: there is no item 9223372036854775807"),
        (HEAD + "0,1,1" + "0" * 5000 + "\n", "line 2: far: a whole number is expected"),
        (HEAD + "0,1,2\n3,4,3\n", "line 3: anchor, near and far must be three items that differ, got 3, 4, 3"),
        (HEAD + "0,1,2\n4,4,3\n", "line 3: anchor, near and far must be three items that differ"),
        (HEAD + "0,1,2\n4,3,3\n", "line 3: anchor, near and far must be three items that differ"),
        ('{"anchor": 0, "near": 1, "far": 2}\n', "line 1: columns are missing"),
    ],
)
def test_triplets_that_cannot_be_are_named_with_their_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_triplets(written(tmp_path / "t.csv", text), 6)


def test_a_table_without_its_features_is_checked_too(tmp_path: Path) -> None:
    assert read_triplets(written(tmp_path / "t.csv", HEAD + "0,1,200\n")).tolist() == [[0, 1, 200]]
    with pytest.raises(ValueError, match=r"line 2: there is no item -1: rows of the features count from 0$"):
        read_triplets(written(tmp_path / "t.csv", HEAD + "0,-1,2\n"))


def test_the_line_that_a_spreadsheet_broke_is_named_in_another_encoding(tmp_path: Path) -> None:
    written(tmp_path / "t.csv", "anchor,near,far,who\r\n0,1,2,ich\r\n3,4,5,Müller\r\n", "cp1252")
    with pytest.raises(ValueError, match=r"t\.csv, line 3: byte 0xfc is not UTF-8; in Windows-1252 .*'Müller'"):
        read_triplets(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((3, 4)), r"t\.npy must hold integers of shape \(t, 3\), .*it holds float64 \(3, 4\)"),
        (np.array(ROWS, dtype=float), r"it holds float64 \(2, 3\), .* numbers: save it with .astype\(int\)"),
        (np.array(ROWS) + 0.5, r"floating-point numbers$"),
        (np.array([[np.nan, 1, 2]]), r"floating-point numbers$"),
        (np.arange(3), r"it holds int64 \(3,\)"),
        (np.array(3), r"it holds int64 \(\)"),
        (np.ones((2, 3), bool), r"it holds bool \(2, 3\), true or false"),
        (np.array([["0", "1", "2"]]), r"it holds <U1 \(1, 3\), texts"),
        (np.zeros((0, 3), int), r"t\.npy holds no triplets"),
        (np.array([[0, 1, 2], [0, 1, -1]]), r"t\.npy, row 1: there is no item -1"),
        (np.array([[0, 1, 2], [0, 1, 6]]), r"row 1: there is no item 6: rows of the features count from 0 to 5$"),
        (np.array([[0, 1, 2**64 - 1]], dtype=np.uint64), "row 0: there is no item 9223372036854775807"),
        (np.array([[1, 2, 6]]), r"row 0: .*these seem to count from 1"),
        (np.array([[0, 0, 6]]), r"row 0: there is no item 6"),
        (np.array([[0, 1, 0]]), r"row 0: anchor, near and far must be three items"),
    ],
)  # fmt: skip
def test_arrays_that_hold_no_triplets_are_named(tmp_path: Path, array, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_triplets(saved(tmp_path / "t.npy", array), 6)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros(3), r"f\.npy must hold numbers of shape \(n, d\), a row per item; it holds float64 \(3,\)"),
        (np.zeros((2, 3, 4)), r"it holds float64 \(2, 3, 4\)"),
        (np.zeros((2, 3), complex), r"it holds complex128 \(2, 3\), complex numbers"),
        (np.zeros(2, dtype=[("a", float)]), "records"),
        (np.zeros((0, 3)), r"f\.npy holds no features: its shape is \(0, 3\)"),
        (np.zeros((3, 0)), r"holds no features"),
        (np.array([[0], [np.inf]]), r"f\.npy, row 1: an infinite number, .*of 1 such rows"),
        (np.array([[0], [-1e300]]), "row 1: an infinite number, or one above 3e38"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_arrays_that_hold_no_features_are_named(tmp_path: Path, array, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_features(saved(tmp_path / "f.npy", array))


def test_what_could_not_be_measured_may_stand_in_features(tmp_path: Path) -> None:
    assert np.isnan(read_features(saved(tmp_path / "f.npy", [[np.nan, 1.0]]))).tolist() == [[True, False]]


def npz(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, features=np.ones(2), labels=np.ones(2))


def objects(path: Path) -> None:
    np.save(path, np.array([{}]), allow_pickle=True)


def cut(path: Path) -> None:
    np.save(path, np.ones((50, 2)))
    path.write_bytes(path.read_bytes()[:-8])


def cut_header(path: Path) -> None:
    np.save(path, np.ones((50, 2)))
    path.write_bytes(path.read_bytes()[:40])


def two(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.ones((2, 2)))
        np.save(file, np.ones((2, 2)))


def huge(path: Path) -> None:
    np.save(path, np.ones((2, 2)))
    path.write_bytes(path.read_bytes().replace(b"(2, 2), }      ", b"(9999999999,2),}", 1))


def unbalanced(path: Path) -> None:
    np.save(path, np.ones((2, 2)))
    path.write_bytes(path.read_bytes().replace(b"(2, 2), }", b"(2, 2  (  ", 1))


def hostile(path: Path) -> None:
    np.save(path, np.ones((2, 2)))
    path.write_bytes(path.read_bytes().replace(b"(2, 2)", b"(-2,2)", 1))


def header(kind: str, shape: str, body: int = 0):
    """Writes a file with a header that NumPy does not write, and so many bytes after it."""
    text = f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
    content = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(body)
    return lambda path: path.write_bytes(content)


def test_a_number_that_is_no_number_is_read_without_a_warning(tmp_path: Path, recwarn) -> None:
    strange = np.frombuffer(b"\x01\0\0\0\0\0\0\0\xff\x7f\0\0\0\0\0\0" * 3, np.longdouble).reshape(1, 3)
    assert np.isnan(read_features(saved(tmp_path / "f.npy", strange))).all()
    with pytest.raises(ValueError, match="must hold integers of shape"):
        read_triplets(tmp_path / "f.npy")
    assert not recwarn


@pytest.mark.parametrize(
    ("save", "said"),
    [
        (lambda path: path.write_bytes(b""), "x.npy is not a plain .npy array: it is empty"),
        (lambda path: path.write_text("1,2\n"), "x.npy is not a plain .npy array$"),
        (npz, r"is not a plain .npy array, it is a NumPy archive \(.npz\) of features, labels"),
        (objects, "is not a plain .npy array: it holds Python objects, which are not loaded"),
        (lambda path: path.write_bytes(b"\x80\x04\x95" + bytes(20)), "it is a Python pickle"),
        (cut, r"x.npy holds 792 bytes after its header, which tells of 800: is the file cut off\?"),
        (cut_header, "its header is damaged"),
        (two, "something else follows: save one array"),
        (huge, r"tells of 159,999,999,984: is the file cut off\?"),
        (unbalanced, "its header is damaged: "),
        (hostile, r"its header is damaged: its shape is \(-2, 2\)"),
        (header("'<f8'", "(0, 99999999999999999999)"), r"damaged: its shape is \(0, 9{20}\)"),
        (header("'<f8'", f"(0, {2**62})"), "damaged: its shape is "),
        (header("'|V0'", f"({2**40}, {2**40})"), "damaged: its shape is "),
        (header("'<f8'", "(True, 3)", 24), r"damaged: its shape is \(True, 3\)"),
        (header("'|V0'", f"({'1, ' * 70})"), "damaged: its shape is "),
        (header("('<f8', (2,))", "(3, 2)", 96), "damaged: its type is .*, an array of its own"),
        (header(r"'<f8\\^'", "(3, 2)", 48), "its header is damaged: "),
    ],
)
@pytest.mark.filterwarnings("error")
def test_files_that_hold_no_array_are_called_what_they_are(tmp_path: Path, save, said: str) -> None:
    save(tmp_path / "x.npy")
    for read in (read_features, read_triplets):
        with pytest.raises(ValueError, match=said):
            read(tmp_path / "x.npy")
        with pytest.raises(FileNotFoundError, match="there is no file"):
            read(tmp_path / "y.npy")


def test_a_file_that_was_joined_with_itself_is_noted(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # several people may have judged the same
        assert len(read_triplets(written(tmp_path / "t.csv", HEAD + "0,1,2\n0,1,2\n3,4,5\n"))) == 3
    with pytest.warns(UserWarning, match=r"t\.csv: every triplet stands there 2 times or more"):
        read_triplets(written(tmp_path / "t.csv", HEAD + "0,1,2\n3,4,5\n" * 2))
