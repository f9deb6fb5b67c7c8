"""The domain, without clock, environment or I/O: statuses, tasks, reports, retry, names, the assignment plan."""
