"""Stories as a domain, with the truth of their grammar."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from domains.stories.grammar import GRADE, read
from domains.stories.prompts import ENDING, GENRE, LINE, QUALITY, SEEDS, WHAT
from domains.writing import asked, probabilities
from qdfeedback.models.frames import STOPS
from qdfeedback.models.language import Sampling
from qdfeedback.types import Floats
from qdfeedback.writing import Writing

MODEL = Path(__file__).parent / "model"


def truth(texts: Sequence[str]) -> Floats:
    """Returns (n, 3) quality, genre (1 = horror) and ending (1 = happy) as the grammar sees them.

    NaN where it does not know half of the sentences: of other people's stories it knows nothing.
    """
    return probabilities([read(text) for text in texts], ("quality", "horror", "happy"))


STORIES = Writing(
    WHAT, LINE, SEEDS, asked("quality", QUALITY), (asked("genre", GENRE), asked("ending", ENDING)),
    Sampling(max_tokens=160, temperature=0.8, stop=STOPS), truth=truth, levels=6, grade=GRADE, best=4.0,
)  # fmt: skip
