"""What a language model is told and asked about opinions. An answer pair's first answer is the one that counts as 1."""

from __future__ import annotations

Asked = tuple[str, tuple[str, str]]

WHAT = "opinion"
LINE = "Somebody's opinion on eating vegetables and plant-based food:"
QUALITY: Asked = (
    "Does somebody say here whether they like to eat vegetables and plant-based food, and explain why?",
    ("yes", "no"),
)
SENTIMENT: Asked = ("What is the feeling about vegetables in this text?", ("positive", "negative"))
SEEDS = (
    "People talk a lot about eating vegetables. A few herbs make greens rather nice. I do not mind a salad now and "
    "then. It has to do with my health.",
    "Let me say how I feel about plant-based food. I would rather have a sandwich. Greens are a bit dull without "
    "sauce. I say so because I have tried them all.",
    "Vegetables come up at every dinner. Some people eat greens and some eat meat. Everybody chooses what to put on "
    "the plate. That is because of how my parents cooked.",
)
