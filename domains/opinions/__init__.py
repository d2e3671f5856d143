"""Opinions on eating vegetables."""

from domains.opinions.opinions import OPINIONS

__all__ = ["OPINIONS"]
