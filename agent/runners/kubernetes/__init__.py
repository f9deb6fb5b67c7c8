"""The `kubernetes` runner: an attempt as a Job."""
