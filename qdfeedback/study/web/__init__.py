"""The pages on which people answer, and those of the study's owner."""
