"""Versions of documents, which no other kind of the catalog has."""
