"""What goes on now, how it went, and what is wrong."""
