"""The catalog as YAML, out and in."""
