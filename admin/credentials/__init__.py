"""Credentials: a look at the model's server with a key."""
