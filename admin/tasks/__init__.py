"""Tasks: the list, one task, its log, its artifacts, and what people decide about it."""
