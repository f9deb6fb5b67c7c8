"""What a script on one machine can reach, and what is left of it: attacks on the fence, by real scripts.

Each is tried as this user, and, where this is root, as an ordinary user too.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from agent.runners.process.fence import find_fence
from agent.settings import WorkerSettings
from keruta.domain.reports import Input
from tests.support.attempts import Ask, Attempt, Told, environment, run, run_as
from tests.support.processes import command_lines

ORDINARY = 12345
USERS = [os.geteuid(), *([ORDINARY] if os.geteuid() == 0 else [])]


@pytest.fixture(scope="module", autouse=True)
def works(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Where bubblewrap does not work these tests show nothing, and say so loudly."""
    if find_fence(WorkerSettings(worker_dir=tmp_path_factory.mktemp("worker")))[0] is None:
        warnings.warn("bubblewrap does not work here: the fence is NOT tested", stacklevel=1)
        pytest.skip("bubblewrap does not work here: the fence is NOT tested")


@pytest.fixture(params=USERS, ids=lambda user: "root" if user == 0 else "ordinary")
def user(request: pytest.FixtureRequest) -> int:
    return int(request.param)


class Place:
    """A user's directories outside /tmp: a home with secrets, a repository, keruta's state."""

    def __init__(self, root: Path, user: int) -> None:
        self.root, self.user = root, user
        self.home, self.state, self.repository = root / "home", root / "state", root / "repository"
        for directory in (self.home / ".ssh", self.home / "tools/bin", self.state / "keys", self.repository):
            directory.mkdir(parents=True)
        (self.home / ".ssh/id").write_text("a-private-key")
        (self.state / "keys/credentials.key").write_text("a-sealing-key")
        (self.home / "tools/bin/greet").write_text("#!/bin/sh\necho hello from a tool\n")
        (self.home / "tools/bin/greet").chmod(0o755)
        self.git("init", "-q")
        (self.repository / "file").write_text("content")
        self.git("add", ".")
        self.git("-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-qm", "first")
        if user != os.geteuid():
            for directory, names, files in os.walk(root):
                for name in (".", *names, *files):
                    os.chown(Path(directory, name), user, user)

    def git(self, *arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=self.repository, check=True)

    def ask(self, script: str, *, isolation: str = "bubblewrap", **fields: Any) -> Ask:
        settings = {"isolation": isolation, **fields.pop("settings", {})}
        path = f"{self.home}/tools/bin:/usr/local/bin:/usr/bin:/bin"
        fields = fields if "command" in fields else {"script": script, **fields}
        return Ask(
            state=str(self.state), repository=self.repository.as_uri(), fields=fields, settings=settings,
            environ={"HOME": str(self.home), "PATH": path},
        )  # fmt: skip

    def run(self, script: str, **more: Any) -> Told:
        ask = self.ask(script, **more)
        return run(ask) if self.user == os.geteuid() else run_as(self.user, ask)

    def begin(self, script: str, **more: Any) -> Attempt:
        ask = self.ask(script, **more)
        with environment(ask.environ):
            return Attempt(ask)


@pytest.fixture
def make_place() -> Iterator[Callable[[int], Place]]:
    root = Path(tempfile.mkdtemp(dir="/var/tmp"))
    root.chmod(0o755)
    yield lambda user: Place(root, user)
    shutil.rmtree(root)


@pytest.fixture
def place(make_place: Callable[[int], Place], user: int) -> Place:
    return make_place(user)


@pytest.fixture
def own(make_place: Callable[[int], Place]) -> Place:
    """A place of this user's own."""
    return make_place(os.geteuid())


def running(mark: str) -> list[psutil.Process]:
    """Processes with these words as an argument, of any user."""
    return [process for process, line in command_lines() if mark in line]


# ---------------------------------------------------------------- a task without secrets


def test_a_script_without_secrets_has_no_network(place: Place) -> None:
    """Nor has its check: not even this machine's own; another task's script reaches it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        at = f"127.0.0.1/{server.getsockname()[1]}"
        script = f"bash -c 'exec 3<>/dev/tcp/{at}' && echo reached || echo closed"
        closed = place.run(script, check=script, without_secrets=True)
        usual = place.run(script)

    assert closed.log.count("closed\n") == 2
    assert "reached" not in closed.log
    assert "reached\n" in usual.log
    assert closed.status == "succeeded"


def test_without_a_fence_nothing_runs_without_secrets(own: Place) -> None:
    told = own.run("echo began", isolation="none", without_secrets=True)

    assert (told.status, told.reason) == ("failed", "WorkspaceFailed")
    assert "began" not in told.log


def test_a_task_without_secrets_leaves_nothing_in_the_clone_cache(own: Place) -> None:
    for without, kept in ((True, False), (False, True)):
        assert own.run("true", without_secrets=without, settings={"clone_cache": True}).status == "succeeded"
        assert any((own.state / "worker" / "cache").glob("*/*")) is kept


# ---------------------------------------------------------------- what a script sees


def test_neither_kerutas_state_nor_a_home_is_there(place: Place) -> None:
    """Wherever the state lies; and of the system nothing that only some may read."""
    told = place.run(
        f"cat {place.state}/keys/* {place.home}/.ssh/id /etc/shadow; ls {place.state} {place.home}; ls -a ~; "
        f"find / -xdev -name credentials.key 2>/dev/null; id -u; cat ~/../control/exit; echo end"
    )

    assert "a-private-key" not in told.log
    assert "a-sealing-key" not in told.log
    assert "root:" not in told.log
    assert "credentials.key\n" not in told.log
    assert told.status == "succeeded", told


def test_state_inside_what_is_shown_is_not_there(place: Place) -> None:
    """A directory of tools may hold keruta's own: that is left out of it."""
    told = place.run(f"ls {place.root}; cat {place.state}/keys/*; ls {place.state}", settings={
        "fence_read_paths": (str(place.root),)
    })  # fmt: skip

    assert "repository" in told.log
    assert "a-sealing-key" not in told.log
    assert "jobs" not in told.log


def test_tools_on_the_path_work(place: Place) -> None:
    assert "hello from a tool" in place.run("greet").log


def test_only_its_own_directories_can_be_written(place: Place) -> None:
    script = """
    for at in / /usr /etc /opt /job /job/given /job/documents /job/control /var /root /home; do
      touch $at/made 2>/dev/null && echo "made in $at"
    done
    for at in "$HOME" /tmp /var/tmp "$KERUTA_WORKSPACE" "$KERUTA_ARTIFACTS"; do
      touch $at/made || echo "not in $at"
    done
    case $HOME in /tmp*) echo "home in tmp";; esac
    echo x=y >>"$KERUTA_OUTPUTS"
    """
    told = place.run(script)

    assert "made in" not in told.log
    assert "not in" not in told.log
    assert "home in tmp" not in told.log
    assert (told.outputs, told.artifacts) == ({"x": "y"}, ["made", "log.gz"])


def test_tools_write_into_the_scripts_own_home(place: Place) -> None:
    """And nothing of it is there for the next attempt."""
    told = place.run("git config --global user.name me && mkdir -p ~/.cache ~/.npm && cat ~/.gitconfig")
    again = place.run("ls -A ~")

    assert "name = me" in told.log
    assert ".npm" not in again.log
    assert not (place.home / ".gitconfig").exists()


def test_tools_install_into_the_scripts_own_home(own: Place) -> None:
    """`pip install --user`, `npm install` and `git config --global`, offline: each is found again by who uses it."""
    told = own.run("""
git config --global user.x y && git config --global --get user.x | sed 's/^/git /'
if python3 -c 'import pip, setuptools' 2>/dev/null; then
  mkdir -p package && echo 'V = 1' > package/tiny_module.py
  echo 'from setuptools import setup; setup(name="tiny", version="1.0", py_modules=["tiny_module"])' > package/setup.py
  PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install -q --user --no-index --no-build-isolation ./package
  (cd / && python3 -c 'import tiny_module; print("pip", tiny_module.V)')
else
  echo pip 1
fi
if command -v npm >/dev/null; then
  mkdir -p app/dep && cd app && echo '{"name":"dep","version":"1.0.0"}' > dep/package.json
  echo 'module.exports = 7' > dep/index.js
  echo '{"name":"app","version":"1.0.0","dependencies":{"dep":"file:./dep"}}' > package.json
  npm install --offline --no-audit --no-fund --silent && node -e 'console.log("npm", require("dep"))'
else
  echo npm 7
fi
""")

    assert "git y\n" in told.log
    assert "pip 1\n" in told.log
    assert "npm 7\n" in told.log


def test_other_processes_are_not_there(place: Place) -> None:
    """A process space, host name space and message queues of its own, and no way to more rights."""
    spaces = {name: os.readlink(f"/proc/self/ns/{name}") for name in ("pid", "ipc", "uts", "mnt")}
    told = place.run("ls /proc | grep -c '^[0-9]'; grep NoNewPrivs /proc/self/status; readlink /proc/self/ns/*")

    assert "NoNewPrivs:\t1" in told.log
    assert not [space for space in spaces.values() if space in told.log]
    assert int(told.log.splitlines()[2]) < 8


def test_a_tasks_environment_does_not_apply_outside_and_is_on_no_command_line(own: Place) -> None:
    """LD_PRELOAD would be code of the script's in what puts up the fence."""
    secret = "a-value-of-the-task"
    attempt = own.begin("echo ready; sleep 600", env={"LD_PRELOAD": "/job/workspace/evil.so", "TOKEN": secret})
    attempt.says("ready")

    inside = attempt.job._dir.fence_state()
    outer = psutil.Process(int((attempt.root / "process").read_text().split()[0]))
    outside = [outer, *(one for one in outer.children() if one.name() == "bwrap")]
    environments = [one.environ() for one in outside]
    lines = [" ".join(line) for _, line in command_lines()]
    attempt.job.stop()
    attempt.ends()

    assert b"child-pid" in inside
    assert len(outside) == 2
    assert not [one for one in environments if "LD_PRELOAD" in one or secret in str(one)]
    assert not [line for line in lines if secret in line]


# ---------------------------------------------------------------- what a script does to the agent


def test_a_script_can_not_replace_its_check(place: Place) -> None:
    script = """
    for at in /job/given/* ; do echo 'exit 0' >"$at"; mv "$at" "$at.old"; rm -f "$at"; ln -sf /bin/true "$at"; done
    mv /job/given /job/old; mkdir /job/given; echo 'script 0' >/job/control/exit; echo 'check 0' >/job/control/exit
    exit 0
    """
    told = place.run(script, check="echo it is checked; exit 7")

    assert "it is checked" in told.log
    assert (told.status, told.reason, told.exit_code) == ("failed", "CheckFailed", 7)


def test_a_script_can_not_write_down_its_own_end(own: Place) -> None:
    """Though it kills all that it can see."""
    told = own.run("kill -9 -1; kill -9 1; echo 'script 0' >/proc/1/fd/5; exit 9")

    assert (told.status, told.exit_code) == ("failed", 9)


LINKS = """
cd "$(dirname "$KERUTA_OUTPUTS")" && rm -f outputs && ln -s {secret} outputs && ln -s {secret} ask
cd "$KERUTA_ARTIFACTS" && ln -s {secret} link; ln -s {directory} directory; mkfifo pipe
sleep 1.2
"""


@pytest.mark.parametrize("isolation", ["bubblewrap", "none"])
def test_links_that_a_script_leaves_lead_nowhere(own: Place, isolation: str) -> None:
    secret = own.state / "keys/credentials.key"
    secret.write_text("a=a-sealing-key")
    told = own.run(LINKS.format(secret=secret, directory=secret.parent), isolation=isolation)

    assert told.status == "succeeded"
    assert "a-sealing-key" not in str(told)
    assert [one for one in told.artifacts if one != "log.gz"] == []


def test_a_pipe_in_place_of_a_file_is_not_waited_for(own: Place) -> None:
    own.run('cd "$(dirname "$KERUTA_OUTPUTS")" && rm outputs && mkfifo outputs ask && sleep 0.7')


def test_input_is_not_written_through_a_link(own: Place) -> None:
    """Without the fence a script reaches the directory where its standard input lies."""
    victim = own.home / "victim"
    victim.write_text("untouched")
    script = f'cd "$(dirname "$KERUTA_OUTPUTS")/../control" && rm stdin && ln -s {victim} stdin; echo ready; sleep 1'
    attempt = own.begin(script, isolation="none")
    attempt.says("ready")

    attempt.job.give([Input(number=1, text="overwritten")])
    told = attempt.ends()

    assert told.status == "succeeded"
    assert victim.read_text() == "untouched"


def test_the_kept_log_is_the_scripts_own_output(own: Place) -> None:
    """Though the script puts a link in its place."""
    script = f'cd "$(dirname "$KERUTA_OUTPUTS")/../control" && ln -sf {own.home}/.ssh/id output; echo said'
    told = own.run(script, isolation="none")

    assert told.status == "succeeded"
    kept = next((own.state / "results").rglob("log.gz"))
    text = subprocess.run(["gzip", "-dc", kept], capture_output=True, check=True, text=True).stdout
    assert "said" in text
    assert "a-private-key" not in text


# ---------------------------------------------------------------- how it ends

LEAVES = """
env -i setsid sh -c 'sleep {mark} & sleep {mark} & wait' >/dev/null 2>&1 </dev/null &
(env -i setsid sh -c '(sleep {mark} &)' &) >/dev/null 2>&1
sleep 0.3; echo left
"""


@pytest.mark.parametrize("isolation", ["bubblewrap", "none"])
@pytest.mark.parametrize("ends", ["by itself", "killed"])
def test_what_a_script_leaves_behind_is_ended_whatever_it_did(own: Place, isolation: str, ends: str) -> None:
    """No mark in its environment, sessions of its own, parents that are gone."""
    mark = f"77{os.getpid()}.{len(isolation)}{len(ends)}"
    more = "" if ends == "by itself" else "trap '' TERM; while :; do sleep 1; done"
    attempt = own.begin(LEAVES.format(mark=mark) + more, isolation=isolation, settings={"grace_seconds": 0.2})
    attempt.says("left")
    if ends == "killed":
        assert running(mark)
        attempt.job.stop()

    attempt.ends()

    assert running(mark) == []


@pytest.mark.parametrize("isolation", ["bubblewrap", "none"])
def test_a_trap_gets_its_grace(own: Place, isolation: str) -> None:
    """SIGTERM reaches the script and what it started, and it has time to end in order."""
    script = "trap 'echo told; sleep 1; echo cleaned; exit 3' TERM; echo ready; sleep 600 & wait"
    attempt = own.begin(script, isolation=isolation)
    attempt.says("ready")

    attempt.job.stop()
    told = attempt.ends()

    assert "told\ncleaned\n" in told.log
    assert (told.status, told.exit_code) == ("cancelled", 3)


def test_a_check_is_told_to_end_too(own: Place) -> None:
    attempt = own.begin("true", check="trap 'echo told; exit 3' TERM; echo ready; sleep 600 & wait")
    attempt.says("ready")

    attempt.job.stop()

    assert "told" in attempt.ends().log


def test_set_up_and_script_share_a_fence(own: Place) -> None:
    """What the set-up started, a database say, is there for the script; for the check it is started again."""
    told = own.run(
        "kill -0 $(cat ~/server) && echo there", setup=["sleep 600 & echo $! >~/server"],
        check="kill -0 $(cat ~/server) && echo again",
    )  # fmt: skip

    assert "there\n" in told.log
    assert "again\n" in told.log
    assert told.status == "succeeded"


LEFT_FOR_THE_CHECK = """
echo 'echo from-bashrc; exit 0' >~/.bashrc; cp ~/.bashrc ~/.profile; cp ~/.bashrc ~/.bash_profile
site=$(python3 -m site --user-site); mkdir -p "$site"
echo 'import os; print("from-usercustomize", flush=True); os._exit(0)' >"$site/usercustomize.py"
echo x >/tmp/left; echo x >/var/tmp/left
(trap '' TERM HUP; while :; do echo gone >of-the-background; sleep 0.1; done) &
"""


@pytest.mark.parametrize("user", USERS[:1], indirect=True)
def test_nothing_that_a_script_left_outside_the_workspace_runs_in_its_check(place: Place) -> None:
    """Start files of shells and of Python, temporary files, and a process that goes on."""
    check = """
    test ! -e /tmp/left || exit 3; test ! -e /var/tmp/left || exit 4; test ! -e ~/.bashrc || exit 5
    rm -f of-the-background; sleep 0.5; test ! -e of-the-background || exit 6
    git config user.name >/dev/null || exit 8; touch ~/mine /tmp/mine || exit 9
    python3 -c 'import sys; sys.exit(7)'
    """
    told = place.run(LEFT_FOR_THE_CHECK, check=check)

    assert (told.reason, told.exit_code) == ("CheckFailed", 7)
    assert "from-" not in told.log


def test_a_set_up_runs_again_for_the_check(own: Place) -> None:
    """What it installs in the home is there for both; one that can't run twice says so."""
    told = own.run("~/tool", setup=["echo 'echo it works' >~/tool; chmod +x ~/tool"], check="~/tool")
    twice = own.run("true", setup=["mkdir once"], check="true")

    assert (told.status, told.log.count("it works\n")) == ("succeeded", 2)
    assert (twice.status, twice.reason, twice.exit_code) == ("failed", "SetupFailed", 1)


def test_a_check_without_a_fence_says_that_it_can_be_falsified(own: Place) -> None:
    """It has a home of its own there too."""
    told = own.run("echo x >~/left", isolation="none", check="test ! -e ~/left")

    assert told.status == "succeeded"
    assert any("falsify" in note for note in told.notes)


def test_a_set_up_that_fails_is_the_end(own: Place) -> None:
    told = own.run("echo not this", setup=["false"])

    assert (told.reason, told.exit_code) == ("SetupFailed", 1)
    assert "not this" not in told.log


@pytest.mark.parametrize("isolation", ["bubblewrap", "none"])
def test_words_for_a_command_that_is_missing(own: Place, isolation: str) -> None:
    """The command itself, its interpreter, or a program that it looks for: only the first two can't be run."""

    def reason(*command: str) -> str | None:
        return own.run("", isolation=isolation, command=list(command)).reason

    assert reason("no-such-program") == "CommandNotFound"
    assert reason("/etc/passwd") == "CommandNotFound"
    assert reason("sh", "-c", "no-such-program") == "ScriptFailed"
    assert reason("sh", "-c", "exit 126") == "ScriptFailed"


@pytest.mark.parametrize("isolation", ["bubblewrap", "none"])
def test_a_question_from_deep_within_tools(own: Place, isolation: str) -> None:
    """From another session, written whole beside it and renamed; of several lines; and another one after it."""
    ask = 'printf "%b" "$1" >"$KERUTA_ASK.part" && mv "$KERUTA_ASK.part" "$KERUTA_ASK"'
    script = f"""
    cat >/tmp/ask-$$ <<'END'
{ask}
END
    setsid sh -c "sh /tmp/ask-$$ 'Which one?\\n1) this\\n2) that'"; read answer
    setsid sh -c "sh /tmp/ask-$$ 'Sure?'"; read sure; rm "$KERUTA_ASK" /tmp/ask-$$; echo "$answer $sure"
    """
    attempt = own.begin(script, isolation=isolation)
    attempt.until(lambda: attempt.recording.told().questions)
    attempt.job.give([Input(number=1, text="this")])
    attempt.until(lambda: len(attempt.recording.told().questions) > 1)
    attempt.job.give([Input(number=2, text="yes")])
    told = attempt.ends()

    assert told.questions == ["Which one?\n1) this\n2) that", "Sure?"]
    assert "this yes" in told.log


def test_a_read_of_standard_input_is_seen_inside_the_fence(own: Place) -> None:
    attempt = own.begin("printf 'Your name? '; read name; echo hello $name")
    attempt.until(lambda: attempt.recording.told().questions)
    attempt.job.give([Input(number=1, text="ann")])
    told = attempt.ends()

    assert told.questions == ["Your name?"]
    assert "hello ann" in told.log


def test_a_fence_that_can_not_be_put_up_is_said(own: Place) -> None:
    """By bubblewrap's own words in the log, as the worker's failure, so that the task may be tried again."""
    attempt = own.begin("echo not run; sleep 600", settings={"fence_read_paths": (f"{own.home}/tools",)})
    shutil.rmtree(own.home / "tools")  # after the worker had looked

    told = attempt.ends()

    assert (told.status, told.reason) == ("failed", "WorkspaceFailed")
    assert "bwrap: " in told.log
    assert "not run" not in told.log.replace("echo not run", "")


@pytest.mark.parametrize("isolation", ["none", "bubblewrap"])
def test_a_script_is_told_who_runs_it(own: Place, isolation: str) -> None:
    """USER and LOGNAME are its user, whoever started the worker: getpass and others read them."""
    with environment({"LOGNAME": "somebody", "USER": "somebody"}):
        told = own.run(
            'echo "user=$USER" "logname=$LOGNAME" "id=$(id -un)" >&2; env -0 | tr "\\0" "\\n"', isolation=isolation
        )

    said = dict(word.split("=", 1) for word in told.log.split() if "=" in word)
    assert said["user"] == said["logname"] == said["id"], told.log
