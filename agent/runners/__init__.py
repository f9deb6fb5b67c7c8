"""The two runners: `process` and `kubernetes`."""
