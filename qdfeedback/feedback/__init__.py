"""Questions, answers, and where they are kept."""
