"""Stories about a spy and a politician."""
