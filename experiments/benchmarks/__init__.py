"""What things cost, measured against doing them barely, in one process."""
