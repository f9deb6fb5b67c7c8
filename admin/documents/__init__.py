"""What only documents have: their versions."""
