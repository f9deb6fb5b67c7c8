"""The directory `.keruta`: whose it must be."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import jwt
import pytest
from click.testing import CliRunner

from keruta.cli import machine
from keruta.cli import up as starting
from keruta.cli.commands import cli
from keruta.domain.principal import SERVICE
from keruta.errors import KerutaError
from keruta.local.state import Running, State, find, passed_over


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of many users with a system's directory in it, and a project of one's own below."""
    monkeypatch.delenv("KERUTA_HOME", raising=False)
    State(root=tmp_path / ".keruta").make()
    (tmp_path / "project").mkdir()
    return tmp_path


def another_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on, all that is there belongs to somebody else."""
    uid = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)


@pytest.mark.parametrize(("arguments", "used"), [((), "chosen"), (("--home", "/elsewhere"), "/elsewhere")])
def test_the_directory_that_a_person_chose_is_where_the_system_starts(
    monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], used: str
) -> None:
    """`keruta up` takes $KERUTA_HOME, as every other command does; its option comes before it."""
    began: list[Path] = []
    monkeypatch.setenv("KERUTA_HOME", "chosen")
    monkeypatch.setattr(starting, "bring_up", lambda home, **_: began.append(home) or 0)

    CliRunner().invoke(cli, ["up", *arguments])

    assert began == [Path(used)]


@pytest.mark.parametrize(("home", "shown"), [(".keruta", ""), ("other", "KERUTA_HOME={root} ")])
def test_another_terminal_is_told_where_the_system_is(
    shared: Path, monkeypatch: pytest.MonkeyPatch, home: str, shown: str
) -> None:
    """A directory that commands do not find by themselves is named in what to type there."""
    monkeypatch.chdir(shared)
    state = State(root=shared / home)
    state.make()

    assert starting.told_where(state) == shown.format(root=state.root)


def test_ones_own_system_is_found_from_below(shared: Path) -> None:
    """A `.keruta` in a parent directory is that of its subdirectories."""
    found = find(shared / "project")

    assert found is not None
    assert found.root == shared / ".keruta"
    assert passed_over(shared / "project") == []


def test_another_users_system_is_not_used(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody sends their tasks to whoever made a `.keruta` in a directory above."""
    State(root=shared / ".keruta").note_running(Running(url="http://127.0.0.1:1", token="t", pid=os.getpid()))
    another_user(monkeypatch)
    monkeypatch.chdir(shared / "project")

    assert find(shared / "project") is None
    with pytest.raises(KerutaError, match=r"\.keruta is not used"):
        machine.find_running()
    with pytest.raises(KerutaError, match=r"\.keruta is not used"):
        machine.find_state()


def test_ones_own_above_another_users_is_found(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that is passed over hides nothing."""
    other = shared / "project" / ".keruta"
    other.mkdir(mode=0o700)
    other.chmod(0o777)

    found = find(shared / "project")

    assert found is not None
    assert found.root == shared / ".keruta"
    assert passed_over(shared / "project") == [other]


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
def test_what_others_may_write_to_is_not_used(shared: Path, mode: int) -> None:
    """Its keys and addresses may be theirs."""
    (shared / ".keruta").chmod(mode)

    assert find(shared / "project") is None


def test_a_link_of_another_users_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link is as good as who made it, even to a directory of one's own."""
    monkeypatch.delenv("KERUTA_HOME", raising=False)
    State(root=tmp_path / "real" / ".keruta").make()
    (tmp_path / ".keruta").symlink_to(tmp_path / "real" / ".keruta")
    assert find(tmp_path) is not None
    link, real = (tmp_path / ".keruta").lstat(), Path.lstat

    def of_others(path: Path) -> os.stat_result:
        if path != tmp_path / ".keruta":
            return real(path)
        fields = list(link)
        fields[4] = link.st_uid + 1
        return os.stat_result(fields)

    monkeypatch.setattr(Path, "lstat", of_others)

    assert find(tmp_path) is None


def test_a_directory_that_is_named_is_used_whoever_made_it(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """$KERUTA_HOME is a decision of the person's own."""
    another_user(monkeypatch)
    monkeypatch.setenv("KERUTA_HOME", str(shared / ".keruta"))

    found = find(shared)

    assert found is not None
    assert found.root == shared / ".keruta"


@pytest.mark.parametrize("name", ["", "keys"])
def test_no_keys_are_made_where_others_may_write(tmp_path: Path, name: str) -> None:
    """A directory that somebody has made ready in a shared place, to know the keys, is refused."""
    root = tmp_path / ".keruta"
    (root / name).mkdir(parents=True)
    root.chmod(0o700)
    (root / name).chmod(0o777)

    with pytest.raises(KerutaError, match="belongs to another user, or others may write there"):
        State(root=root).make()


NOBODY = 65534


def test_another_user_of_the_machine_reads_nothing_of_it() -> None:
    """Tried as another user: neither a key, nor a token, nor which files there are."""
    if os.geteuid() != 0:
        pytest.skip("SKIPPED LOUDLY: only root can try it as another user")
    place = Path(tempfile.mkdtemp(prefix="keruta-shared-"))
    try:
        place.chmod(0o777)
        state = State(root=place / ".keruta")
        state.make()
        state.write_identity()
        state.mongod_access()
        files = [path for path in state.root.rglob("*") if path.is_file()]

        for path in (*files, state.root):
            tool = "ls" if path.is_dir() else "cat"
            tried = subprocess.run(
                [tool, path], user=NOBODY, group=NOBODY, extra_groups=[], capture_output=True, check=False
            )
            assert (tried.returncode != 0, tried.stdout) == (True, b""), path
        assert len(files) > 6
        assert [path for path in files if path.stat().st_mode & 0o077 and path.parent.name in ("keys", "tokens")] in (
            [],
            [state.root / "keys" / "trusted.json"],
        )
    finally:
        shutil.rmtree(place)


def test_no_token_of_this_machine_is_a_service_accounts(shared: Path) -> None:
    """Such a subject is refused, so the worker could not register and no event would be taken."""
    state = State(root=shared / ".keruta")
    state.write_identity()

    for name in ("events", "worker", "person"):
        token = (state.root / "tokens" / name).read_text()
        subject = jwt.decode(token, options={"verify_signature": False})["sub"]
        assert not subject.startswith(SERVICE), name
