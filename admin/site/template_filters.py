"""Filters for templates: times, durations, sizes, states."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import flask
from babel.dates import format_datetime, format_timedelta
from markupsafe import Markup

from admin.site.language import gettext, language, marked
from admin.site.safe_text import visible
from admin.site.time_zone import local, offset

STATUS_NAMES = {
    "queued": marked("queued"),
    "assigned": marked("assigned"),
    "preparing": marked("preparing"),
    "running": marked("running"),
    "waiting": marked("waiting for input"),
    "suspended": marked("suspended"),
    "unknown": marked("unknown"),
    "succeeded": marked("succeeded"),
    "failed": marked("failed"),
    "cancelled": marked("cancelled"),
}
_SIGNS = {
    "queued": "◌", "assigned": "◔", "preparing": "◑", "running": "▶", "waiting": "…", "suspended": "‖", "unknown": "?",
    "succeeded": "✓", "failed": "✕", "cancelled": "⊘",
}  # fmt: skip
_ICONS = {
    "succeeded": "good", "failed": "bad", "running": "busy", "assigned": "busy", "preparing": "busy",
    "waiting": "warn", "suspended": "warn", "unknown": "warn",
}  # fmt: skip


def sign(value: str) -> str:
    """Return the sign of a state, for a page's title."""
    return _SIGNS.get(value, "·")


def state_icon(value: str) -> str:
    """Return the name of the asset that shows a state as a page's icon."""
    return f"state-{_ICONS.get(value, 'quiet')}.svg"


def moment(at: datetime | None) -> Markup:
    """A time: as how long ago in the reader's browser, with the exact one on hover; without scripts, exactly."""
    if at is None:
        return Markup("–")
    text = exact(at, "yyyy-MM-dd HH:mm:ss")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(at.astimezone(UTC).isoformat(), text, text)


def exact(at: datetime, shape: str = "yyyy-MM-dd HH:mm") -> str:
    """Return a time in the reader's zone, with how far that is from UTC."""
    here = local(at)
    return f"{format_datetime(here, shape, locale=language(), tzinfo=here.tzinfo)} {offset(here)}"


def duration(begun: datetime | None, ended: datetime | None) -> Markup:
    """Return the time between two; one that goes on is counted up in the browser."""
    if begun is None:
        return Markup("–")
    if ended is None:
        said = seconds((datetime.now(UTC) - begun).total_seconds())
        return Markup('<span data-since="{}">{}</span>').format(begun.astimezone(UTC).isoformat(), said)
    return Markup("<span>{}</span>").format(seconds((ended - begun).total_seconds()))


def seconds(value: float) -> str:
    """2.4 s, 3 min 20 s, 2 h 5 min; the same in every language."""
    if value < 10:
        return f"{max(value, 0):.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return format_timedelta(timedelta(seconds=whole), locale=language())


def percent(value: float) -> str:
    """Return a share as 87.5 %; one that is not whole is never shown as 100 %, and none but zero as 0 %."""
    shown = round(value, 1)
    if shown in (0.0, 100.0) and shown != value:
        shown = 0.1 if shown == 0.0 else 99.9
    return f"{shown:.1f} %"


def points_changed(value: float) -> str:
    """Return a difference of two shares, with its sign."""
    return f"{value:+.2f}".replace("-", "\u2212")


def size(count: int) -> str:
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError


def status(value: str) -> Markup:
    """A state, by a sign, a colour and its name."""
    return Markup('<span class="state state-{}"><span aria-hidden="true">{}</span> {}</span>').format(
        value, _SIGNS.get(value, "·"), gettext(STATUS_NAMES.get(value, value))
    )


def circuit_state(entry: Any) -> Markup:
    """Return a badge that says whether tasks that need this entry are held back."""
    circuit = getattr(entry, "circuit", None)
    kind, said = (
        ("failed", gettext("held back")) if circuit is not None and circuit.open else ("succeeded", gettext("well"))
    )
    return Markup('<span class="state state-{}">{}</span>').format(kind, said)


def with_query(**changes: str | int | None) -> str:
    """The address of this page with parameters changed; None takes one away."""
    query = {**flask.request.args.to_dict(), **changes}
    kept = {name: value for name, value in query.items() if value not in (None, "")}
    return flask.request.path + (f"?{urlencode(kept)}" if kept else "")


def next_page(cursor: str | None) -> Markup:
    """The way to the next page of a list; nothing on the last."""
    if cursor is None:
        return Markup("")
    return Markup(
        '<nav class="paging" aria-label="{}"><a class="btn btn-sm btn-outline-secondary" rel="next" href="{}">{}</a>'
        "</nav>"
    ).format(gettext("Pages"), with_query(cursor=cursor), gettext("Next page"))


GLOBALS = {
    "moment": moment, "exact": exact, "duration": duration, "seconds": seconds, "size": size, "status": status,
    "sign": sign, "state_icon": state_icon,
    "visible": visible,
    "percent": percent, "points_changed": points_changed, "circuit_state": circuit_state, "with_query": with_query,
    "next_page": next_page, "STATUS_NAMES": STATUS_NAMES,
}  # fmt: skip
