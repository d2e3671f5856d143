"""Clients of models, without knowledge of quality or diversity."""
