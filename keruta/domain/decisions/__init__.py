"""What becomes of a task: pure functions of what is known and of what happened, which return a `Decision`."""
