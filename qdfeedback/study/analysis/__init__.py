"""What the answers of a study are worth."""
