"""The five operations that every kind of the catalog has."""
