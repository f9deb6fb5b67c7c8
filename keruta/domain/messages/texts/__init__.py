"""The English texts of the codes, by subject."""
