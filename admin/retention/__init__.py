"""Pruning of tasks, logs and files that are older than the settings allow."""
