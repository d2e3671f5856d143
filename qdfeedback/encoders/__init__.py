"""Artifacts → named feature columns."""
