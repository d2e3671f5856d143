"""Opinions on eating vegetables."""
