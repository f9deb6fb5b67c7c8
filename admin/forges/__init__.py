"""Forges: signing in, their repositories, and webhooks for triggers."""
