from __future__ import annotations

import numpy as np
import pytest

from domains.opinions import grammar as opinions
from domains.stories import grammar as stories
from domains.stories.corpus import document, story_list
from domains.stories.prompts import LINE
from domains.stories.train import LENGTH, PROMPT, pack, train_tokenizer
from qdfeedback.generators.language import EXAMPLES


def test_stories_are_read_as_they_were_written(rng: np.random.Generator) -> None:
    for _ in range(500):
        turns, ending = (stories.near(tuple(rng.uniform(-3, 3, 2)), rng) for _ in range(2))
        motive, dialogue = (bool(one) for one in rng.integers(2, size=2))
        who = stories.cast(rng)
        found = stories.read(stories.write(stories.Plan(turns, ending, motive, dialogue), who, rng))
        assert found.known == 1.0
        assert (found.horror, found.happy) == pytest.approx((stories.GRADE * sum(turns), stories.GRADE * sum(ending)))
        assert (found.place, found.has_dialogue) == (who.place, dialogue)
        assert found.quality == 1.0 + 1.5 * motive + 1.5 * dialogue
        assert found.setting == ("city" if who.place in stories.CITY else "country")


def test_flaws_lower_quality_and_strangers_are_seen(rng: np.random.Generator) -> None:
    quality = [
        np.mean(
            [
                stories.read(stories.write(stories.Plan((1, 2), (1, -1), flaws=flaws), stories.cast(rng), rng)).quality
                for _ in range(200)
            ]
        )
        for flaws in range(4)
    ]
    assert quality[0] == 4.0
    assert (np.diff(quality) < -0.5).all()
    strange = stories.read("The cat sat on the mat. A ship sank.")
    assert (strange.known, strange.horror, strange.quality) == (0.0, 0.0, -7.0)
    assert stories.read("").known == 0.0


def test_opinions_are_read_as_they_were_written(rng: np.random.Generator) -> None:
    for _ in range(300):
        grades = rng.integers(-3, 4, size=3)
        found = opinions.read(opinions.write(grades, rng))
        assert (found.positive, found.on_topic, found.known) == (grades.sum(), 4.0, 1.0)
    assert opinions.read(opinions.write((1, 1), rng, stray=2)).on_topic < 0


def test_no_two_sentences_mean_two_things() -> None:
    sentences = [text for texts in (*stories.TURNS.values(), *stories.ENDINGS.values()) for text in texts]
    assert len(set(sentences)) == len(sentences)


def test_rows_hold_whole_questions_with_their_answers(rng: np.random.Generator) -> None:
    tokenizer = train_tokenizer(1000, rng, documents=300)
    rows = pack(tokenizer, 6, np.random.default_rng(1))
    assert rows.tokens.shape == rows.weight.shape == (6, LENGTH)
    assert len(rows.row) == len(rows.place) == len(rows.answers) > 3
    np.testing.assert_allclose(rows.answers.sum(dim=1).numpy(), 1, rtol=1e-5)
    for row, place in zip(rows.row, rows.place, strict=True):
        assert tokenizer.decode(rows.tokens[row, : place + 1]).endswith("### Response:\n")
        assert not rows.weight[row, place + 1], "the answer is learned as a distribution"
    again = pack(tokenizer, 6, np.random.default_rng(1))
    assert again.tokens.equal(rows.tokens)


def test_lists_are_whole_and_what_follows_the_examples_counts_most(rng: np.random.Generator) -> None:
    """A list that is cut before its fourth text shows no blend."""
    tokenizer = train_tokenizer(1000, rng, documents=300)
    rows = pack(tokenizer, 6, np.random.default_rng(2))
    texts = [text for row in rows.tokens for text in tokenizer.decode(row).split(tokenizer.eos_token)]
    lists = [text for text in texts if text.startswith(LINE)]
    assert len(lists) > 3
    for text in lists:
        examples = text.split(LINE)[1:]
        assert len(examples) > EXAMPLES
        assert all(example.rstrip("#\n ")[-1] in ".!?" for example in examples)
    heavy = tokenizer.decode(rows.tokens[rows.weight == 1])
    light = tokenizer.decode(rows.tokens[rows.weight == PROMPT])
    assert 0 < heavy.count(LINE) < light.count(LINE)


def test_a_blend_has_the_mean_of_the_texts_before_it() -> None:
    texts = [story_list(np.random.default_rng(seed)).text.split(LINE)[1:] for seed in range(400)]
    read = [[stories.read(text) for text in one[: EXAMPLES + 1]] for one in texts]
    for name in ("horror", "happy"):
        before = [np.mean([getattr(text, name) for text in one[:EXAMPLES]]) for one in read]
        after = [getattr(one[EXAMPLES], name) for one in read]
        assert np.polyfit(before, after, 1)[0] == pytest.approx(1, abs=0.08)
        assert np.std(np.subtract(after, before)) < 1.3


@pytest.mark.parametrize("seed", range(3))
def test_documents_are_seeded(seed: int) -> None:
    assert document(np.random.default_rng(seed)) == document(np.random.default_rng(seed))
