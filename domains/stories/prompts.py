"""What a language model is told and asked about stories. An answer pair's first answer is the one that counts as 1."""

from __future__ import annotations

Asked = tuple[str, tuple[str, str]]

WHAT = "story"
LINE = "A short tale about a rich politician and a suspicious spy:"
QUALITY: Asked = (
    "Is this a good short story about a suspicious spy and a rich politician, with both characters in it, a plot that "
    "holds together, nothing said twice, and nothing that does not belong in a story?",
    ("yes", "no"),
)
GENRE: Asked = ("Which genre is this story closer to?", ("horror", "romance"))
ENDING: Asked = (
    "How does this story end: do the characters find happiness, or are they and their world doomed?",
    ("happy ending", "tragedy"),
)
SETTING: Asked = ("Where does this story take place?", ("city", "country"))
DIALOGUE: Asked = ("Does somebody speak in this story?", ("yes", "no"))
PROPOSE = "List questions with two answers each, by which stories about a politician and a spy can be told apart."
SEEDS = (
    "Mayor Aldous, a rich politician, gave a feast in a marble palace. Juno the spy came as a waiter. The spy counted "
    "the guards and drew a map. A messenger brought news from the border. The spy got away with most of the letters. "
    "Nobody spoke about it afterwards.",
    "Senator Brenn had bought a lodge in the forest with a politician's fortune. Nobody knew that Kasper, who worked "
    "as a cook, was a spy. The spy felt that something was breathing behind the curtain. The politician signed papers "
    "until the ink ran dry. Then the seasons changed as they always do. It had all been for very little.",
    "In an island villa, Governor Elwin the wealthy politician counted gold. A spy named Petra slipped in as a "
    'painter. "Everything has its price," said the politician. They walked side by side through the garden. They spoke '
    "about taxes and the price of grain. There was some hope, at least for the young. The spy left by the back door.",
)
