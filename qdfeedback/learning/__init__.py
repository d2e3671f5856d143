"""What answers change along a run: axes and quality; when, asking whom, fitted how, placed where."""
