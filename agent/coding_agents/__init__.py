"""Coding agents: for each its command line, environment, files, stream and ends."""
