"""Poems of five genres and five tones."""

from domains.poetry.poetry import POETRY

__all__ = ["POETRY"]
