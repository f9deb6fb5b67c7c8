"""What is old goes."""
