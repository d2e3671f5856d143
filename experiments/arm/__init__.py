"""Diversity axes of the planar arm (Ding 2024, sec. 4.1)."""
