from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from qdfeedback.encoders.attributes import Attribute, Attributes, read_attributes
from qdfeedback.models.language import Choices
from qdfeedback.models.scripted import Scripted

GENRE = Attribute("genre", "Which genre?", ("horror", "romance"))
GRADE = Attribute("grade", "How good?", ("1", "2", "3"), kind="rating")
MOOD = Attribute("mood", "Which mood?", ("dark", "light", "odd"), kind="category")
PLACE = Attribute("place", "Where?", ("city", "hills", "sea"))


def judge(prompt: str, options: Sequence[str]) -> list[float] | None:
    """Finds the answer that stands in the text likely, and likes what is named first five times as much."""
    text = prompt.rpartition("<text>\n")[2]
    if "mumble" in text:
        return [0.1] * len(options)
    if "silent" in text:
        return None
    listed = prompt.rpartition("one of: ")[2].partition(".\n")[0].split(", ")
    weights = [(9.0 if one in text else 1.0) * (5.0 if one == listed[0] else 1.0) for one in options]
    return [weight / sum(weights) for weight in weights]


MODEL = Scripted(lambda *_: "", judge)


def test_answers_become_columns() -> None:
    encoder = Attributes((GENRE, GRADE, MOOD, PLACE), (MODEL,))
    assert encoder.names == ("genre", "grade", "mood", "place=city", "place=hills", "place=sea")
    found = encoder.encode(["a horror, grade 3, dark, city", "a romance, odd, in the hills"])
    assert found.shape == (2, 6)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[:, 0], [0.9, 0.1], rtol=1e-5)
    np.testing.assert_allclose(found[0, 1], (1 + 2 + 3 * 9) / 11, rtol=1e-5)
    assert found[:, 2].tolist() == [0, 2]
    np.testing.assert_allclose(found[:, 3:].sum(axis=1), 1, rtol=1e-5)
    assert found[0, 3] > found[0, 4]
    assert found[1, 4] > found[1, 3]
    assert encoder.encode([]).shape == (0, 6)
    assert sum(encoder.reasons.values()) == 0


def test_a_preference_for_the_first_answer_goes_out() -> None:
    plain = Attributes((GENRE,), (MODEL,)).encode(["neither"])
    assert plain[0, 0] == pytest.approx(0.5)
    once = Attribute("genre", "Which genre?", ("horror", "romance"), swap=False)
    assert Attributes((once,), (MODEL,)).encode(["neither"])[0, 0] == pytest.approx(5 / 6)


def test_an_unclear_answer_is_missing_and_counted() -> None:
    encoder = Attributes((GENRE, MOOD), (MODEL,))
    found = encoder.encode(["horror", "mumble", "silent"])
    assert np.isfinite(found[0]).all()
    assert np.isnan(found[1:]).all()
    assert encoder.reasons["genre: unclear answers"] == 2
    assert encoder.reasons["the script says nothing"] == 4


def test_several_judges_are_averaged() -> None:
    other = Scripted(lambda *_: "", lambda _, options: [0.5] * len(options))
    found = Attributes((GENRE,), (MODEL, other)).encode(["horror"])[0, 0]
    assert np.log(found / (1 - found)) == pytest.approx(np.log(9) / 2, rel=1e-5)


@dataclass(frozen=True)
class Sees:
    """Finds the answer in a file's bytes, and likes what is named first five times as much."""

    name: str = "sees"

    def look(self, prompts, options, pictures) -> Choices:
        assert all("<text>" not in prompt for prompt in prompts)
        texts = [f"{prompt}<text>\n{file.decode()}" for prompt, (file,) in zip(prompts, pictures, strict=True)]
        return MODEL.choose(texts, options)


def test_pictures_are_looked_at() -> None:
    encoder = Attributes((GENRE, MOOD), (Sees(),), files=lambda paths: [path.encode() for path in paths])
    found = encoder.encode(["a horror, dark", "a romance, odd", "mumble"])
    np.testing.assert_allclose(found[:, 0], [0.9, 0.1, np.nan], rtol=1e-5)
    np.testing.assert_array_equal(found[:, 1], [0, 2, np.nan])
    assert encoder.encode([]).shape == (0, 2)
    told = Attribute("genre", "Which genre?", ("horror", "romance"), examples=(("A ghost.", "horror"),))
    with pytest.raises(ValueError, match="examples, which are texts"):
        Attributes((told,), (Sees(),), files=lambda paths: paths)


def test_examples_come_before_the_question() -> None:
    attribute = Attribute("genre", "Which genre?", ("horror", "romance"), examples=(("A ghost.", "horror"),))
    first, second = attribute.prompts("A kiss.")
    assert first.index("A ghost.") < first.index("A kiss.")
    assert "### Response:\nhorror\n\n### Instruction" in first
    assert "one of: romance, horror" in second


@pytest.mark.parametrize(
    "wrong",
    [{"answers": ("yes",)}, {"answers": ("yes", "yes")}, {"answers": ("yes", "")},
     {"answers": ("1", "3"), "kind": "rating"}, {"examples": (("text", "maybe"),)}],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match="'x'"):
        Attribute("x", "?", **wrong)


GOOD = {"name": "mood", "question": "Which mood?", "answers": ["dark", "light"]}


def listed(path: Path, value: object, encoding: str = "utf-8") -> Path:
    path.write_bytes(json.dumps(value, ensure_ascii=False).encode(encoding))
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_attributes_are_read_from_a_file(tmp_path: Path, encoding: str) -> None:
    told = {"name": "größe", "question": "Wie groß?", "answers": ["1", "2", "3"], "kind": "rating", "swap": False}
    found = read_attributes(listed(tmp_path / "a.json", [GOOD | {"examples": [["A night.", "dark"]]}, told], encoding))
    assert found[0] == Attribute("mood", "Which mood?", ("dark", "light"), examples=(("A night.", "dark"),))
    assert found[1] == Attribute("größe", "Wie groß?", ("1", "2", "3"), kind="rating", swap=False)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (
            {"answers": "yes,no"},
            r"number 1: answers must be a list of strings, got the string 'yes,no': write .\"yes\", \"no\"",
        ),
        ({"answers": [["yes", "no"]]}, r"number 1: answers, number 1, must be a string, got a list"),
        ({"answers": ["yes", 1]}, "answers, number 2, must be a string, got a number, 1"),
        ({"answers": [True, False]}, "answers, number 1, must be a string, got true or false, True"),
        ({"answers": ["yes", None]}, "answers, number 2, must be a string, got nothing"),
        ({"answers": 3}, "answers must be a list of strings, got a number"),
        ({"answers": None}, "answers must be a list of strings, got nothing"),
        ({"answers": {"yes": 1, "no": 0}}, "answers must be a list of strings, got an object"),
        ({"answers": []}, "answers must be 2 or more, got 0"),
        ({"answers": ["yes"]}, "answers must be 2 or more, got 1"),
        ({"answers": ["yes", " "]}, "answers, number 2, must not be empty"),
        ({"answers": ["yes", "yes"]}, "answers must differ, got 'yes' and 'yes'"),
        ({"answers": ["yes", "Yes "]}, "answers must differ, got 'yes' and 'Yes '"),
        ({"name": 3}, "the name of an attribute must be a string, got a number, 3"),
        ({"name": ""}, "the name of an attribute must not be empty"),
        ({"question": ["Which?"]}, "question must be a string, got a list"),
        ({"question": ""}, "question must not be empty"),
        ({"kind": "raiting"}, "kind must be one of .*'rating'.*, got 'raiting'"),
        ({"kind": ["rating"]}, "kind must be one of"),
        ({"kind": "rating"}, "rating 'mood' needs the answers '1', '2'"),
        ({"swap": "no"}, "swap must be true or false, got 'no'"),
        ({"swap": 1}, "swap must be true or false, got 1"),
        ({"examples": "dark"}, "examples must be a list of pairs"),
        ({"examples": ["ab"]}, "examples must be a list of pairs"),
        ({"examples": [["A night."]]}, "examples must be a list of pairs"),
        ({"examples": [["A night.", 1]]}, "an answer must be a string, got a number"),
        ({"examples": [["A night.", "black"]]}, "answered 'black', which is no answer"),
        ({"answer": ["a", "b"]}, "number 1 has an unknown field 'answer': is 'answers' meant?"),
        ({"colour": "red"}, "unknown field 'colour': known are name, question"),
    ],
)
def test_what_cannot_be_asked_is_named(tmp_path: Path, value: dict, said: str) -> None:
    with pytest.raises(ValueError, match=rf"a\.json must list objects with name, question and answers: .*{said}"):
        read_attributes(listed(tmp_path / "a.json", [GOOD | value]))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({}, "it holds an object"),
        ([], "it holds an empty list"),
        ("mood", "it holds a string"),
        (["mood"], "number 1 must be an object with name, question, answers, got a string, 'mood'"),
        ([[GOOD]], "number 1 must be an object with name, question, answers, got a list"),
        ([GOOD, {"name": "a", "question": "b"}], "number 2 has no 'answers'"),
        ([GOOD, GOOD], "'mood' stands there twice"),
    ],
)
def test_a_file_that_lists_no_attributes_is_named(tmp_path: Path, value: object, said: str) -> None:
    with pytest.raises(ValueError, match=rf"a\.json must list objects with name, question and answers: {said}"):
        read_attributes(listed(tmp_path / "a.json", value))


def test_columns_have_names_of_their_own() -> None:
    with pytest.raises(ValueError, match="names of their own, got 'genre' twice"):
        Attributes((GENRE, GENRE), (MODEL,))
    with pytest.raises(ValueError, match="got 'place=sea' twice"):
        Attributes((PLACE, Attribute("place=sea", "Is it at sea?")), (MODEL,))
    with pytest.raises(ValueError, match="attribute 'a': answers must be a list of strings, got the string 'yes'"):
        Attribute("a", "Which?", "yes")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["name", "question", "answers", "kind", "examples", "swap", "more"])
@pytest.mark.parametrize("value", ["z" * 5000, {"z" * 5000: [[["z"] * 50] * 50]}, [["z" * 5000] * 2] * 5], ids=range(3))
def test_a_wrong_field_is_shown_short(tmp_path: Path, name: str, value: object) -> None:
    good = {"name": "n" * 5000, "question": "q?", "answers": ["yes", "no"]}
    (tmp_path / "a.json").write_text(json.dumps([good | {name: value}, {}]))
    with pytest.raises(ValueError, match=r"a\.json must list objects with name, question and answers: ") as caught:
        read_attributes(tmp_path / "a.json")
    assert len(str(caught.value).replace(str(tmp_path), "")) < 350
