"""Every route there is, as data: one module for each part that serves some of them, and the table of all."""
