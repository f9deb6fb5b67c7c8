"""What is set, and where it comes from."""
