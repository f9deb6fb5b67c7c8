"""The command `keruta`."""
