"""Pictures of one prompt, on axes learned from what people find alike (Ding 2024, sec. 4.3)."""
