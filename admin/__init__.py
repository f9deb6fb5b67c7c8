"""The management API, and later the web admin: `create_app` and one blueprint per feature."""
