"""Quality-diversity search in which people and models say what is good and what is different."""

__version__ = "0.1.0"
