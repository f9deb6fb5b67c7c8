"""The script's log: chunks, masking."""
