"""The audit record: its routes and pages."""
