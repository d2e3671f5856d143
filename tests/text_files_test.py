from __future__ import annotations

import gzip
import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from qdfeedback import text_files

TEXT = "ähnlich, naïve\nzweite Zeile: 東京\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_text_is_read_whatever_its_encoding_and_its_line_ends(tmp_path: Path, encoding: str, end: str) -> None:
    path = tmp_path / "t.txt"
    path.write_bytes(TEXT.replace("\n", end).encode(encoding))
    assert text_files.read_text(path) == TEXT
    assert text_files.read_text(path, newlines=False) == TEXT.replace("\n", end)
    assert text_files.read_lines(path) == TEXT.strip().split("\n")


def test_big_endian_marks_are_known(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(b"\xfe\xff" + "Ü".encode("utf-16-be"))
    assert text_files.read_text(tmp_path / "t") == "Ü"


@pytest.mark.parametrize("text", ["a,b\r\n1,2\r\n", "東京\n", "Привет, мир\n", "x"])
def test_utf16_without_a_mark_is_known_by_its_order_of_bytes(tmp_path: Path, text: str) -> None:
    for encoding in ("utf-16-le", "utf-16-be"):
        if b"\x00" in (content := text.encode(encoding)):
            (tmp_path / "t").write_bytes(content)
            assert text_files.read_text(tmp_path / "t", newlines=False) == text, encoding


def test_an_empty_file_and_two_marks(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(b"")
    assert text_files.read_text(tmp_path / "t") == ""
    (tmp_path / "t").write_bytes("\ufeff\ufeffx".encode())
    assert text_files.read_text(tmp_path / "t") == "x"


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1"])
def test_another_encoding_is_named_with_the_line_and_the_word(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "namen.csv"
    path.write_bytes("id,name\r\n1,Meier\r\n2,Herr Müller\r\n3,Größe\r\n".encode(encoding))
    with pytest.raises(ValueError, match=r"namen\.csv, line 3: byte 0xfc .*'Müller': save the file as UTF-8"):
        text_files.read_text(path)
    path.write_bytes("a\rb\rTür\r".encode(encoding))
    with pytest.raises(ValueError, match=r"namen\.csv, line 3: byte 0xfc .*'Tür'"):
        text_files.read_text(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-be"])
def test_a_cut_character_is_named(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "t.txt"
    path.write_bytes((b"" if encoding != "utf-16-be" else b"\xfe\xff") + "aü".encode(encoding)[:-1])
    with pytest.raises(ValueError, match=r"t\.txt ends in the middle of a character"):
        text_files.read_text(path)


def zipped(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return file.getvalue()


def saved(save, *what) -> bytes:
    file = io.BytesIO()
    save(file, *what)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (zipped("[Content_Types].xml", "xl/workbook.xml"), "it is an Excel workbook: save it as CSV UTF-8"),
        (zipped("mimetype", "content.xml"), "an OpenDocument file: save it as CSV"),
        (zipped("word/document.xml"), "a Word document"),
        (zipped("a.csv"), "a zip archive: unpack it"),
        (zipped("a.csv")[:30], "a damaged zip archive"),
        (saved(np.savez, np.ones(2)), r"a NumPy archive \(\.npz\) of arr_0"),
        (saved(np.save, np.ones(2)), r"a NumPy array \(\.npy\)"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel or Word file"),
        (b"%PDF-1.7", "a PDF"),
        (gzip.compress(b"a,b"), "compressed by gzip"),
        (b"SQLite format 3\x00", "an SQLite database"),
        (b"PAR1....", "a Parquet file"),
        (b"{\\rtf1 a}", "a rich text document"),
    ],
    ids=lambda value: value.split()[-1] if isinstance(value, str) else "file",
)
def test_files_that_are_no_text_are_called_what_they_are(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "triplets.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"triplets\.csv is no text file, it is {said}|triplets\.csv .*{said}"):
        text_files.read_text(path)


def test_a_nul_byte_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"a,b\n1,2\n" + bytes(12))  # what a crash leaves at the end of a file
    with pytest.raises(ValueError, match=r"t\.csv, line 3: a NUL byte: the file is damaged"):
        text_files.read_text(path)
    path.write_bytes("a\n\x00".encode("utf-8-sig"))
    with pytest.raises(ValueError, match=r"t\.csv, line 2: a NUL byte"):
        text_files.read_text(path)
    path.write_bytes(np.random.default_rng(0).bytes(1001))
    with pytest.raises(ValueError, match=r"t\.csv, line 2: a NUL byte: the file is damaged, or no text"):
        text_files.read_text(path)


def test_what_is_no_file_or_too_large_is_not_opened(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"^there is no file .*nowhere\.txt$"):
        text_files.read_text(tmp_path / "nowhere.txt")
    with pytest.raises(ValueError, match="is a folder"):
        text_files.read_text(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipe is no regular file"):
        text_files.read_text(tmp_path / "pipe")
    (tmp_path / "t").write_text("1234567")
    assert text_files.read_text(tmp_path / "t", most=7) == "1234567"
    with pytest.raises(ValueError, match="t has 7 bytes, at most 6 are read"):
        text_files.read_text(tmp_path / "t", most=6)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_json_is_read(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "x.json").write_bytes('{\r\n "a": ["ü", 1]\r\n}\r\n'.encode(encoding))
    assert text_files.read_json(tmp_path / "x.json") == {"a": ["ü", 1]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"x\.json is empty: JSON is expected"),
        (" \n", r"x\.json is empty"),
        ('{"a": 1,\n "b": }', r"x\.json, line 2: not JSON: expecting value at column 7, before '}'$"),
        ('{"a":\n [1, 2', r"x\.json, line 2: not JSON: expecting ',' delimiter; is the file cut off\?"),
        ('{"a": "b', r"line 1: not JSON: unterminated string starting at; is the file cut off\?"),
        ('{“a”: 1}', "line 1: .*quotes must be straight"),
        ('{"a": 1}\n{"a": 2}\n', r"line 2: not JSON: one value is expected, more follows at column 1 \(JSON lines"),
        ('{"a": 1, "b": {"c": 2, "c": 3}}', r"x\.json: 'c' stands twice in one object"),
        ("<!doctype html><p>Not found", "a web page or XML"),
        ("[" * 100_000, "x.json: .*nested too deeply"),
        ("[" + "1" * 5000 + "]", "x.json: .*4300 digits"),
    ],
)  # fmt: skip
def test_what_is_no_json_is_named_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "x.json").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=said):
        text_files.read_json(tmp_path / "x.json")


def test_json_lines_know_where_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(
        '\ufeff{"a": 1}\r\n\r\n[2]\r\n{"a": \u2028}\r\n{"a"'.encode().replace(b": \xe2\x80\xa8", b': "\xe2\x80\xa8"')
    )
    found = text_files.read_json_lines(path)
    assert next(found) == (f"{path}, line 1", {"a": 1})
    assert next(found) == (f"{path}, line 3", [2])
    assert next(found) == (f"{path}, line 4", {"a": "\u2028"})
    with pytest.raises(ValueError, match=r"x\.jsonl, line 5: not JSON: .*is the file cut off\?"):
        next(found)
    path.write_text('{"a": \n{"a": 1}\n')
    with pytest.raises(ValueError, match=r"x\.jsonl, line 1: not JSON: expecting value at column 7, before ''$"):
        next(text_files.read_json_lines(path))


def test_toml_is_read_or_named(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes('["a/b"]\r\nprompt = 1.5\r\n'.encode("utf-8-sig"))
    assert text_files.read_toml(path) == {"a/b": {"prompt": 1.5}}
    path.write_text("[a]\nprompt = 1,5\n")
    with pytest.raises(ValueError, match=r"x\.toml is not TOML: .*line 2"):
        text_files.read_toml(path)


@pytest.mark.parametrize("value", ["9" * 5000, "[" * 3000 + "]" * 3000], ids=["digits", "deep"])
def test_toml_that_cannot_be_read_is_named(tmp_path: Path, value: str) -> None:
    (tmp_path / "x.toml").write_text(f"a = {value}\n")
    with pytest.raises(ValueError, match=r"x\.toml is not TOML.{,250}$"):
        text_files.read_toml(tmp_path / "x.toml")
