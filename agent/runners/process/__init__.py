"""The `process` runner: a script as a process group of this machine."""
