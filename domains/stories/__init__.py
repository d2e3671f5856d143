"""Stories about a spy and a politician."""

from domains.stories.stories import MODEL, STORIES

__all__ = ["MODEL", "STORIES"]
