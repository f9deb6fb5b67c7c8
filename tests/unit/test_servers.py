"""Choice of a server on the command line, and its token."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
from click.testing import CliRunner

from keruta.cli import connection, login, servers
from keruta.cli.commands import cli
from keruta.client import Client
from keruta.errors import KerutaError

CONFIG = """
default = "team"
[servers.team]
url = "https://team.example.com/"
[servers.nightly]
url = "https://night.example.com"
token_file = "{token}"
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("KERUTA_URL", "KERUTA_TOKEN", "KERUTA_SERVER", "KERUTA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(connection, "find", lambda _: None)
    (tmp_path / "keruta").mkdir()
    (tmp_path / "nightly.token").write_text("the-nightly-token\n")
    (tmp_path / "nightly.token").chmod(0o600)
    (tmp_path / "keruta" / "config.toml").write_text(CONFIG.format(token=tmp_path / "nightly.token"))
    return tmp_path


def sign_in(home: Path, *urls: str) -> None:
    """Write the sign-ins at these addresses, the newest first."""
    kept = [
        login.SignedIn(
            url=url, issuer="https://id.example.com", client="keruta", access_token=f"token-of-{url}",
            refresh_token="again", expires_at=time.time() + 3600,
        )
        for url in urls
    ]  # fmt: skip
    (home / "keruta" / "signed-in.json").write_bytes(msgspec.json.encode(login.SignIns(sign_ins=kept)))


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[str, str]]:
    """Return what a command connects to, from its arguments: the address and the token."""
    made: list[tuple[str, str]] = []

    def client(url: str, token: Any, **_: Any) -> Any:
        made.append((url, token if isinstance(token, str) else token()))
        raise click.ClickException("far enough")

    monkeypatch.setattr(connection, "Client", client)

    def connected(*arguments: str) -> tuple[str, str]:
        made.clear()
        done = CliRunner().invoke(cli, [*arguments, "list"])
        assert made, done.exception
        return made[0]

    return connected


def test_a_server_is_chosen_by_option_then_environment_then_default_then_newest_sign_in(
    home: Path, connected: Callable[..., tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    team, other = "https://team.example.com", "https://other.example.com"
    sign_in(home, other, team)

    assert connected() == (team, f"token-of-{team}")
    assert connected("--server", other + "/") == (other, f"token-of-{other}")
    monkeypatch.setenv("KERUTA_SERVER", "nightly")
    assert connected() == ("https://night.example.com", "the-nightly-token")
    monkeypatch.setenv("KERUTA_URL", other)
    assert connected() == (other, f"token-of-{other}")
    monkeypatch.setenv("KERUTA_TOKEN", "mine")
    assert connected() == (other, "mine")
    assert connected("--server", "team") == (team, f"token-of-{team}")
    for name in ("KERUTA_SERVER", "KERUTA_URL", "KERUTA_TOKEN"):
        monkeypatch.delenv(name)
    (home / "keruta" / "config.toml").unlink()
    assert connected() == (other, f"token-of-{other}")


def test_a_token_goes_to_its_own_server_only(home: Path) -> None:
    """KERUTA_TOKEN and other servers' sign-ins are not sent to a server that `--server` names."""
    sign_in(home, "https://team.example.com")

    done = CliRunner().invoke(
        cli, ["--server", "https://elsewhere.example.com", "list"],
        env={"KERUTA_URL": "https://team.example.com", "KERUTA_TOKEN": "mine"},
    )  # fmt: skip

    assert isinstance(done.exception, KerutaError)
    assert "keruta login https://elsewhere.example.com" in str(done.exception)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("servers = 3", "Expected `object`"),
        ("[servers.a]\nadress = 'x'", "unknown field `adress`"),
        ("[servers.a]\nurl = 'https://a'\ntoken = 'x'", "unknown field `token`"),
        ("default = 'b'\n[servers.a]\nurl = 'https://a'", "add [servers.b]"),
        ("[servers.a", "end of document"),
    ],
)
def test_a_wrong_configuration_names_the_file_and_the_fault(content: str, said: str, home: Path) -> None:
    file = home / "keruta" / "config.toml"
    file.write_text(content)

    with pytest.raises(KerutaError) as raised:
        servers.config()

    assert str(file) in str(raised.value)
    assert said in str(raised.value)


def test_an_unknown_server_names_the_known_ones(home: Path) -> None:
    with pytest.raises(KerutaError, match=r"no server is named tame.*named there: nightly, team"):
        servers.named("tame")


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [("t", 0o644, "chmod 600"), ("t", 0o620, "chmod 600"), (" \n", 0o600, "holds no token")],
)
def test_a_token_that_others_may_read_is_refused(content: str, mode: int, said: str, home: Path) -> None:
    file = home / "nightly.token"
    file.write_text(content)
    file.chmod(mode)

    with pytest.raises(KerutaError, match=said):
        servers.token_of(servers.named("nightly"))


def test_the_sign_in_of_an_earlier_version_is_read(home: Path) -> None:
    one = login.SignedIn(
        url="https://team.example.com", issuer="i", client="c", access_token="t", refresh_token="r",
        expires_at=time.time() + 3600,
    )  # fmt: skip
    login.file().write_bytes(msgspec.json.encode(one))

    assert login.signed_in() == one
    assert login.signed_in("https://team.example.com/") == one
    assert login.signed_in("https://other.example.com") is None


def test_logging_out_of_one_server_leaves_the_others(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    revoked: list[str] = []

    class Provider:
        def __init__(self, *_: str) -> None: ...

        def revoke(self, token: str) -> None:
            revoked.append(token)

    monkeypatch.setattr(login, "Provider", Provider)
    sign_in(home, "https://other.example.com", "https://team.example.com")

    done = CliRunner().invoke(cli, ["logout", "team"])

    assert done.exit_code == 0, done.exception
    assert revoked == ["again"]
    assert login.signed_in("https://team.example.com") is None
    assert login.signed_in("https://other.example.com") is not None


def test_every_command_that_prints_takes_json() -> None:
    def commands(command: click.Command, *names: str) -> dict[str, click.Command]:
        if not isinstance(command, click.Group):
            return {" ".join(names): command}
        return {
            name: one for key, inner in command.commands.items() for name, one in commands(inner, *names, key).items()
        }

    without = [name for name, one in commands(cli).items() if not any("--json" in option.opts for option in one.params)]

    assert sorted(without) == ["completion", "mcp", "up"]


def test_the_real_client_takes_the_chosen_address(home: Path) -> None:
    with click.Context(cli) as context:
        context.ensure_object(connection.Context).server = "nightly"

        assert isinstance(client := connection.connect(), Client)
        assert client.address == "https://night.example.com"
