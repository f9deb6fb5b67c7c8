"""The figures, each beside its baseline in the same run. `make bench`."""
