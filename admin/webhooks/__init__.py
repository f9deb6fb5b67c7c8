"""Webhooks out: made, looked at, sent again."""
