"""Numbers as people read them."""

from __future__ import annotations


def counted(n: int, one: str, many: str = "") -> str:
    """Returns a number with what it counts, "1 answer" or "2 answers".

    Args:
        n: how many.
        one: what a single one is called.
        many: what several are; with an s if not given.
    """
    return f"{n} {one if n == 1 else many or f'{one}s'}"
