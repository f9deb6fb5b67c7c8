"""Style and scripts: keruta's own, and those that installed packages bring. None comes from elsewhere.

Each has an address with its content's hash in it, so that browsers keep it for good; packed once, when first asked for.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
from importlib.util import find_spec
from pathlib import Path

import flask
import msgspec

from admin.site.compression import pack
from keruta.domain.messages import message
from keruta.errors import NotFound

PREFIX = "/assets"
OWN = Path(__file__).with_name("static")
PACKAGED = {
    "bootstrap.css": ("flask_bootstrap", "static/bootstrap5/css/bootstrap.min.css"),
    "swagger-ui.css": ("flask_swagger_ui", "dist/swagger-ui.css"),
    "swagger-ui.js": ("flask_swagger_ui", "dist/swagger-ui-bundle.js"),
}
KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}  # as a machine's own list may not say

blueprint = flask.Blueprint("assets", __name__)


class Asset(msgspec.Struct, frozen=True, kw_only=True):
    """One file. `packed` is its gzip form."""

    plain: bytes
    packed: bytes
    kind: str
    digest: str


@functools.cache
def asset(name: str) -> Asset:
    """Raises NotFound."""
    if name in PACKAGED:
        package, path = PACKAGED[name]
        spec = find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        file = Path(spec.origin).parent / path
    else:
        known = {path.name: path for path in OWN.iterdir() if path.is_file()}
        if name not in known:
            raise NotFound(message("file_missing"))
        file = known[name]
    plain = file.read_bytes()
    packed = gzip.compress(plain, 9, mtime=0)
    return Asset(plain=plain, packed=packed, kind=KINDS[file.suffix], digest=hashlib.sha256(plain).hexdigest()[:16])


def address(name: str) -> str:
    """Return the address of an asset, for a page."""
    return f"{PREFIX}/{asset(name).digest}/{name}"


@blueprint.get(f"{PREFIX}/<digest>/<name>", provide_automatic_options=False)
def serve(digest: str, name: str) -> flask.Response:
    found = asset(name)
    if digest != found.digest:
        raise NotFound(message("http_page_outdated"))
    response = flask.Response(found.plain, content_type=f"{found.kind}; charset=utf-8")
    pack(response, lambda: found.packed)
    response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
    return response
