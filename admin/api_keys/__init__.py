"""API keys, for programs that can't sign in."""
