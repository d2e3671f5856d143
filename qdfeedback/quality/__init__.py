"""Features → scores."""
