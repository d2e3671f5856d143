"""Features → measures."""
