"""Small questions to other HTTP servers."""

from __future__ import annotations

import urllib3

_pool = urllib3.PoolManager(maxsize=2, retries=False, timeout=urllib3.Timeout(connect=1, read=2))


def answers(url: str) -> bool:
    """Says whether a GET of an address succeeds within 3 s."""
    if not url.startswith(("http://", "https://")):
        return False
    try:
        return _pool.request("GET", url, redirect=False).status == 200
    except urllib3.exceptions.HTTPError:
        return False
