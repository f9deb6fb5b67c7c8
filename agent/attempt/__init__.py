"""One attempt: checkout, script, check, push, results."""
