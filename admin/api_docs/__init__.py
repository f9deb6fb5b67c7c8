"""The API, rendered."""
