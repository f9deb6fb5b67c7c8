"""Git, run as a program: its faults in our terms, its credentials by files, and what a server says of itself."""
