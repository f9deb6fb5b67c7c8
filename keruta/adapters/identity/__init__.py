"""Authentication: tokens are verified with their issuer's keys, even while the issuer cannot be reached."""
