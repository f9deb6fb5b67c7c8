"""Pausing and resuming queues."""
