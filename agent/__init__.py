"""The agent image: `worker` takes tasks and makes attempts at them; `run` is what runs beside a script in a Job Pod."""
