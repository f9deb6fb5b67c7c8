"""Alive, ready, and the API's own description."""
