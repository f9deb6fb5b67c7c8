"""The overview: running tasks, recent results, and problems."""
