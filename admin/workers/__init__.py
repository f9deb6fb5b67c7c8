"""Workers: who is there, what they hold, and draining them."""
