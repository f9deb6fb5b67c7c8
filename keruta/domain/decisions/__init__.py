"""Decisions about tasks: pure functions of the known state and an event, which return a `Decision`."""
