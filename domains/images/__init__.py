"""Pictures of coloured shapes, of which everything is known."""
