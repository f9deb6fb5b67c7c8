"""Templates: saved tasks with parameters, run by a form or by the API."""
