"""What a language model is told and asked about stories. An answer pair's first answer is the one that counts as 1."""

from __future__ import annotations

Asked = tuple[str, tuple[str, str]]

WHAT = "story"
LINE = "A short tale about a rich politician and a suspicious spy: "
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
