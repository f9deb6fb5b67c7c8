"""Circuits: show those that are open, and close them."""
