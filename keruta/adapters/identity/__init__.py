"""Who asks: tokens verified against their issuer's keys, whether or not the issuer can be reached."""
