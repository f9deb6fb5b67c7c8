"""The HTTP edge: problems, requests, authentication."""
