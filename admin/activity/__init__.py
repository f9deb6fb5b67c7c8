"""Pages of what goes on at a repository, a queue or a worker, and favourites."""
