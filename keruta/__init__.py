"""keruta: tasks on Git repositories inside a team's own cluster. This package is the shared core."""

__version__ = "0.1.0"
