"""What only repositories have: a look at the real server."""
