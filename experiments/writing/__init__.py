"""Texts that language models write and judge (Bradley 2024), and stories on axes learned from answers."""
