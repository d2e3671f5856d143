"""Prompts of our small world, for one kind of thing and for two."""

from __future__ import annotations

PROMPTS: dict[str, tuple[str, ...]] = {
    "singular": (
        "any number of circles", "any number of red things", "a striped thing", "two squares", "any number of stars",
        "any number of small triangles",
    ),
    "compositional": (
        "a red circle and a blue square", "a striped star and a plain circle", "a green triangle and a yellow star",
        "a dotted square and a purple triangle",
    ),
}  # fmt: skip
