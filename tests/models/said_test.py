from __future__ import annotations

import json

import pytest

from qdfeedback.models.said import LONGEST, as_line, one_line, words_in

PAGE = "<!DOCTYPE html><html><head><title>Sign in</title><style>x{}</style></head><body><p>Please <b>sign in</b>.</p>"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": {"message": "no such model", "code": 404}}, "no such model"),
        ({"code": "invalid", "error": "Argument not supported: stop"}, "Argument not supported: stop"),
        ({"detail": "Not Found"}, "Not Found"),
        ({"detail": [{"loc": ["body", "stop"], "msg": "not permitted"}]}, "body.stop: not permitted"),
        ({"object": "error", "message": "too long", "type": "BadRequest"}, "too long"),
        ({"error": {"message": "Provider error", "metadata": {"raw": "busy"}}}, "Provider error: busy"),
        ([{"error": {"message": "quota"}}], "quota"),
        ({"error": {"code": "insufficient_quota"}}, "insufficient_quota"),
        (PAGE, "Sign in Please sign in ."),
        ("upstream\n timed   out", "upstream timed out"),
        ('{"choices": [', '{"choices": ['),
        ("", "nothing"),
        ("[" * 5000, "[" * LONGEST + "…"),
    ],
)
def test_the_words_of_a_body(body, words: str) -> None:
    assert words_in(body if isinstance(body, str) else json.dumps(body)) == words


def test_a_deep_body_is_shown_as_it_begins() -> None:
    deep = '{"error":' * 800 + "1" + "}" * 800
    assert words_in(deep).startswith('{"error":{"error"')


def test_words_are_short_and_hold_nothing_that_moves_a_screen() -> None:
    assert one_line("\x1b[31mred\x1b[0m\u202e \x00\x07and\nmore\u200b") == "red and more"
    assert one_line("x" * 900) == "x" * LONGEST + "…"
    assert "\n" not in words_in(json.dumps({"error": {"message": "a\nb\r\nc\u2028d"}}))


@pytest.mark.parametrize(
    "text",
    [
        "Incorrect API key provided: sk-proj-SECRETSECRET. Find it at …",
        "Incorrect API key provided: sk-SECRE*********CRET.",
        "Authorization: Bearer SECRET.SECRET-SECRET",
        "the key mine-SECRET is not known",
        "http://me:SECRET@host/v1 refuses",
        "gsk_SECRETSECRETSECRET",
        "GET /v1?api_key=SECRET",
    ],
)
def test_keys_are_not_repeated(text: str) -> None:
    said = one_line(text, "mine-SECRET")
    assert "SECRE" not in said
    assert "…" in said
    assert "SECRE" not in words_in(json.dumps({"error": {"message": text}}), "mine-SECRET")


def test_words_that_only_look_like_keys_stay() -> None:
    assert one_line("a risk-averse monkey-business task-oriented text") == (
        "a risk-averse monkey-business task-oriented text"
    )


def test_what_is_too_deep_to_be_written_is_shown_as_it_begins() -> None:
    deep: list = []
    for _ in range(5000):
        deep = [deep]
    assert as_line(deep).startswith("[[[[")
    assert len(as_line(deep)) < 200
