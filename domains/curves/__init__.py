"""Closed curves in the plane: a domain and an encoder, as short as one's own would be."""

from domains.curves.curves import Curves, Descriptors

__all__ = ["Curves", "Descriptors"]
