"""The page on which people judge, what is exported from it, and what the answers are worth."""
