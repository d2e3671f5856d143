"""Where new solutions come from."""
