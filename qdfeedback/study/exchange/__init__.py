"""A study's data out to other tools, and what they give back."""
