"""What a language model is told and asked about opinions. An answer pair's first answer is the one that counts as 1."""

from __future__ import annotations

Asked = tuple[str, tuple[str, str]]

WHAT = "opinion"
LINE = "Somebody's opinion on eating vegetables and plant-based food: "
QUALITY: Asked = (
    "Does somebody say here whether they like to eat vegetables and plant-based food, and explain why?",
    ("yes", "no"),
)
SENTIMENT: Asked = ("What is the feeling about vegetables in this text?", ("positive", "negative"))
