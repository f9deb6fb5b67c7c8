"""Looks at this machine: what keruta needs, what would help, and how to mend what is wrong."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from keruta.cli.machine import here
from keruta.client import ApiError, Client
from keruta.domain.doctor import Finding
from keruta.errors import SettingsError
from keruta.local import mongod
from keruta.local.installation import start_command
from keruta.local.state import State, find, passed_over
from keruta.local.system import mongo_answers
from keruta.network import Network, network

GIT_OLDEST = (2, 34)
DISK_LEAST_BYTES = 2 * 1024**3


def examine() -> list[Finding]:
    """Check everything; list what is wrong first."""
    state = find(here()) or State(root=here() / (".keruta" if not passed_over(here()) else ".keruta.none"))
    machine = [*_python(), *_git(), *_mongod(), *_network()]
    found = [*machine, *_passed_over(), *_isolation(state), *_disk(state), *_keys(state), *_system(state)]
    return sorted(found, key=lambda finding: ("wrong", "note", "ok").index(finding.state))


def _python() -> Iterator[Finding]:
    yield Finding(state="ok", what=f"Python {sys.version.split()[0]}")


def _git() -> Iterator[Finding]:
    program = shutil.which("git")
    if program is None:
        yield Finding(state="wrong", what="git is not there", mend="apt-get install git, or your system's own way")
        return
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    match = re.search(r"(\d+)\.(\d+)", said)
    if match is None or (int(match[1]), int(match[2])) < GIT_OLDEST:
        yield Finding(state="wrong", what=f"{said.strip() or 'git'} is too old", mend="2.34 or newer is needed")
    else:
        yield Finding(state="ok", what=said.strip())
    if shutil.which("ssh") is None:
        yield Finding(
            state="note", what="ssh is not there: no repositories over ssh", mend="apt-get install openssh-client"
        )


def _mongod() -> Iterator[Finding]:
    url = os.environ.get("KERUTA_MONGO_URL")
    if url:
        there = mongo_answers(url)
        mend = "" if there else "start it, or unset KERUTA_MONGO_URL to use the one that keruta brings"
        yield Finding(
            state="ok" if there else "wrong",
            what="KERUTA_MONGO_URL" + (" answers" if there else " does not answer"),
            mend=mend,
        )
        return
    try:
        program = mongod.find()
        said = mongod.version(program)
        yield Finding(state="ok", what=f"mongod {said}")
        if not mongod.is_mended(said):
            yield Finding(
                state="note",
                what=f"mongod {said} has CVE-2025-14847; keruta starts it with a password and without compression",
                mend="put a newer mongod on the PATH, one major version at a time: "
                "docs/decisions/2026-11-24-mongod-wheel.md",
            )
    except SettingsError as error:
        yield Finding(state="wrong", what="there is no mongod that runs", mend=str(error))


def _passed_over() -> Iterator[Finding]:
    for directory in () if os.environ.get("KERUTA_HOME") else passed_over(here()):
        yield Finding(
            state="note",
            what=f"{directory} is not used: it belongs to another user, or others may write there",
            mend="set KERUTA_HOME to use it all the same",
        )


def _isolation(state: State) -> Iterator[Finding]:
    """Report the isolation of scripts, as the running worker has tried it; where none runs, by what is installed."""
    found = state.isolation()
    if found is not None and found.kind == "bubblewrap":
        yield Finding(state="ok", what="the worker puts a fence around each script")
    elif found is not None:
        yield Finding(
            state="note",
            what=f"there is no fence around scripts, they have all rights of your user: {found.why}",
            mend="let bubblewrap work here (docs/security.md) and start keruta again",
        )
    elif shutil.which("bwrap"):
        yield Finding(state="ok", what="bubblewrap is installed; a worker that starts will try it")
    else:
        yield Finding(
            state="note",
            what="bubblewrap is not installed: without it, scripts have all rights of your user",
            mend="apt-get install bubblewrap",
        )


def _disk(state: State) -> Iterator[Finding]:
    free = shutil.disk_usage(state.root.parent).free
    if free < DISK_LEAST_BYTES:
        yield Finding(
            state="wrong", what=f"{free // 1024**2} MiB are free beside {state.root}", mend="make room: 2 GiB or more"
        )
    else:
        yield Finding(state="ok", what=f"{free // 1024**3} GiB are free")


def _keys(state: State) -> Iterator[Finding]:
    private = [
        *(state.root / "keys").glob("*.pem"),
        *(state.root / "tokens").glob("*"),
        state.sealing_key,
    ]
    for path in private:
        if path.exists() and path.stat().st_mode & 0o077:
            yield Finding(state="wrong", what=f"{path} can be read by others", mend=f"chmod 600 {path}")


def _network() -> Iterator[Finding]:
    try:
        reach = network(os.environ)
    except SettingsError as error:
        yield Finding(state="wrong", what=str(error), mend="set it to what your network's keepers say, or unset it")
        return
    if reach.trusts_more:
        yield from _authorities(reach)
    if reach.https_proxy:
        parts = urlsplit(reach.https_proxy)
        try:
            socket.create_connection((parts.hostname or "", parts.port or 3128), timeout=3).close()
            yield Finding(state="ok", what=f"https addresses are asked through the proxy {parts.netloc}")
        except OSError as error:
            what = f"the proxy {parts.netloc} can't be reached: {error.strerror or error}"
            yield Finding(state="wrong", what=what, mend="set KERUTA_HTTPS_PROXY to a proxy that is there, or unset it")
    replaced = {
        "HTTPS_PROXY": ("KERUTA_HTTPS_PROXY", reach.https_proxy),
        "https_proxy": ("KERUTA_HTTPS_PROXY", reach.https_proxy),
        "SSL_CERT_FILE": ("KERUTA_CA_FILE", reach.trusts_more),
    }
    given = [name for name, (_, is_set) in replaced.items() if os.environ.get(name) and not is_set]
    if given:
        yield Finding(
            state="note",
            what=f"only your own Git and this command use {' and '.join(given)} of your environment",
            mend=f"set {' and '.join(sorted({replaced[name][0] for name in given}))} for checkouts with a credential, "
            "scripts, forges and webhooks",
        )


def _authorities(reach: Network) -> Iterator[Finding]:
    """Report how many certificates of a company's own are trusted, and which of them are not valid now."""
    from cryptography import x509

    found = [x509.load_pem_x509_certificate(one.encode()) for one in reach.own_certificates()]
    yield Finding(state="ok", what=f"authorities of your own are trusted: {len(found)} of {reach.ca_source}")
    now = datetime.now(UTC)
    for one in found:
        begins, ends = one.not_valid_before_utc, one.not_valid_after_utc
        if begins <= now <= ends:
            continue
        when = f"ran out on {ends:%Y-%m-%d}" if ends < now else f"is valid from {begins:%Y-%m-%d} on"
        yield Finding(
            state="wrong",
            what=f"a certificate of {reach.ca_source} {when}: {one.subject.rfc4514_string()}",
            mend="ask your network's keepers for the new one, and put it into the same place",
        )


def _system(state: State) -> Iterator[Finding]:
    running = state.running()
    if running is None:
        yield Finding(state="note", what="no keruta is running here", mend=start_command())
        return
    try:
        Client(running.url, running.token).tasks(limit=1)
        yield Finding(state="ok", what=f"keruta runs at {running.url}")
    except ApiError as error:
        yield Finding(state="wrong", what=f"keruta runs and does not answer: {error}", mend=f"see {state.root}/log")
    for name, pid in running.processes.items():
        if not Path(f"/proc/{pid}").exists():
            yield Finding(state="wrong", what=f"{name} is not running", mend=f"see {state.root}/log/{name}.log")
