"""Poems as a domain: genre and tone are categories, quality is a mark from 1 to 10; an instructed model writes them."""

from __future__ import annotations

from qdfeedback.encoders.attributes import Attribute
from qdfeedback.models.language import Sampling
from qdfeedback.writing import Writing

GENRES = ("haiku", "sonnet", "ballad", "limerick", "hymn")
TONES = ("happy", "dark", "mysterious", "romantic", "reflective")
SEED = (
    "Over stubble fields\nthe last light forgets its way.\nA gate keeps on swinging.\n\n"
    "Rain begins softly.\nEvery leaf lowers its head\nto hear a bit more.\n\n"
    "Wind, you have nothing,\nand still you carry it far.\nTeach me to hold so."
)

POETRY = Writing(
    what="poem",
    line="A poem of outstanding quality:",
    seeds=(SEED,),
    quality=Attribute(
        "quality", "How good is this poem, from 1, poor, to 10, worthy of a prize?",
        tuple(str(mark) for mark in range(1, 11)), kind="rating",
    ),
    axes=(
        Attribute("genre", "Which kind of poem is this closest to?", GENRES, kind="category"),
        Attribute("tone", "Which tone is this poem closest to?", TONES, kind="category"),
    ),
    sampling=Sampling(max_tokens=512, temperature=1.0, top_p=0.95, stop=("###",)),
    highest=10.0,
)  # fmt: skip
