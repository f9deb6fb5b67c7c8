"""Effective settings and their sources."""
