"""Badges: public pictures of how the last task on a repository ended."""
