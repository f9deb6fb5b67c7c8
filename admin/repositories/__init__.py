"""Checking a repository on its Git server."""
