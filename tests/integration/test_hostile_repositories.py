"""Workspaces and repositories that try to run a command in the agent's Git, or to have foreign content pushed.

Each case leaves something behind as a script could; then everything of the agent that runs Git is run on it. A marker
file shows that a command ran, a foreign repository's secret that something outside the workspace was read.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from keruta.adapters.git.command import Git
from keruta.errors import PhaseError
from tests.support.repositories import git, make_repository
from tests.support.workspaces import Workspace

SECRET = "a secret of another repository"


class Case:
    """A workspace, with a marker that no command may leave and a repository that nothing may be read of."""

    def __init__(self, root: Path) -> None:
        self.marker = root / "marker"
        self.foreign = root / "foreign"
        make_repository(self.foreign, {"secret": SECRET}, bare=False)
        self.served = root / "served.git"
        make_repository(
            self.served, {"README.md": "x\n", "src/a.txt": "a\n", ".gitattributes": "*.x filter=x diff=x\n"}
        )
        self.workspace = Workspace(root / "attempt", self.served.as_uri())
        self.workspace.check_out()
        self.command = root / "command"
        self.command.write_text(f"#!/bin/sh\ntouch '{self.marker}'\ncat\n")
        self.command.chmod(0o755)

    def run(self, script: str) -> str:
        return self.workspace.run(
            script, COMMAND=str(self.command), FOREIGN=str(self.foreign), OUT=str(self.workspace.root)
        )


CONFIG = r"""
git config filter.x.clean "$COMMAND"
git config filter.x.smudge "$COMMAND"
git config filter.x.process "$COMMAND"
git config filter.x.required true
git config filter.lfs.clean "$COMMAND"
git config filter.lfs.process "$COMMAND"
git config diff.x.textconv "$COMMAND"
git config diff.x.command "$COMMAND"
git config diff.external "$COMMAND"
git config merge.x.driver "$COMMAND"
git config core.fsmonitor "$COMMAND"
git config core.sshCommand "$COMMAND"
git config core.pager "$COMMAND"
git config core.editor "$COMMAND"
git config core.askPass "$COMMAND"
git config core.gitProxy "$COMMAND"
git config core.alternateRefsCommand "$COMMAND"
git config gpg.program "$COMMAND"
git config commit.gpgSign true
git config push.gpgSign true
git config sequence.editor "$COMMAND"
git config credential.helper "!$COMMAND"
git config uploadpack.packObjectsHook "$COMMAND"
git config url."ext::$COMMAND".insteadOf file:
git config alias.add "!$COMMAND"
git config alias.push "!$COMMAND"
git config core.hooksPath "$PWD/hooks"
git config trailer.x.command "$COMMAND"
git config core.attributesFile "$PWD/at"
git config remote.origin.receivepack "$COMMAND"
git config remote.origin.uploadpack "$COMMAND"
git config submodule.sub.update "!$COMMAND"
git config lfs.extension.x.clean "$COMMAND"
git config lfs.customtransfer.x.path "$COMMAND"
git config lfs.standalonetransferagent x
echo '* filter=x diff=x merge=x' > at
mkdir -p hooks
for h in pre-commit post-checkout pre-push post-index-change reference-transaction fsmonitor-watchman; do
    cp "$COMMAND" hooks/$h
done
[ -f .git ] || { mkdir -p .git/hooks; cp hooks/* .git/hooks/; }
"""
NESTED = r"""
git init -q sub
cd sub
printf '* filter=x\n' > .gitattributes
echo 1 > file
git add .
git commit -qm sub
"""

# `@CONFIG@` and `@NESTED@` stand for the two above.
CASES = {
    "every setting that is a command": r"""
        @CONFIG@
        echo '*.x filter=x' > .gitattributes
        echo x > a.x
    """,
    "a nested repository that HEAD names": r"""
        @NESTED@
        git config filter.x.clean "sh -c 'id >&2
        $COMMAND'"
        cd ..
        git add sub
        git commit -qm x
        echo 2 > sub/file
    """,
    "nested, with every setting": r"""
        @NESTED@
        @CONFIG@
        cd ..
        git add sub
        git commit -qm x
        echo 2 > sub/file
    """,
    "nested and not tracked": r"""
        @NESTED@
        @CONFIG@
        echo 2 > file
    """,
    "nested twice": r"""
        mkdir -p a/b
        cd a/b
        @NESTED@
        @CONFIG@
        cd ..
        git add sub
        git commit -qm x 2>&1 || true
        echo 2 > sub/file
    """,
    "a registered submodule": r"""
        @NESTED@
        @CONFIG@
        cd ..
        printf '[submodule "sub"]\n\tpath = sub\n\turl = ./x\n\tupdate = !%s\n' "$COMMAND" > .gitmodules
        git add .
        git commit -qm x
        echo 2 > sub/file
    """,
    "an include": r"""
        printf '[filter "x"]\n\tclean = %s\n' "$COMMAND" > .git/more
        git config include.path more
        git config includeIf.gitdir:**.path more
        echo x > a.x
    """,
    "a file in .git's place": r"""
        mv .git "$OUT/moved.git"
        echo "gitdir: $OUT/moved.git" > .git
        echo x > x
    """,
    "a link in .git's place": r"""
        rm -rf .git
        ln -s "$FOREIGN/.git" .git
        echo x > x
    """,
    "a .git that leads to another repository": r"""
        rm -rf .git
        echo "gitdir: $FOREIGN/.git" > .git
        echo x > x
    """,
    "a common directory elsewhere": r"""
        echo "$FOREIGN/.git" > .git/commondir
        echo x > x
    """,
    "alternates": r"""
        mkdir -p .git/objects/info
        echo "$FOREIGN/.git/objects" > .git/objects/info/alternates
        git -C "$FOREIGN" rev-parse HEAD > .git/HEAD
    """,
    "a directory of objects that is a link": r"""
        rm -rf .git/objects
        ln -s "$FOREIGN/.git/objects" .git/objects
        git -C "$FOREIGN" rev-parse HEAD > .git/HEAD
    """,
    "packs that are links": r"""
        git -C "$FOREIGN" gc -q
        ln -s "$FOREIGN"/.git/objects/pack/* .git/objects/pack/
        git -C "$FOREIGN" rev-parse HEAD > .git/HEAD
    """,
    "a HEAD that is a link": r"""
        rm .git/HEAD
        ln -s "$FOREIGN/secret" .git/HEAD
        echo x > x
    """,
    "a HEAD that points outside": r"""
        echo 'ref: ../../../../foreign/.git/HEAD' > .git/HEAD
        echo x > x
    """,
    "symbolic refs without end": r"""
        mkdir -p .git/refs/heads
        for i in 1 2 3 4 5 6 7 8 9; do
            echo "ref: refs/heads/b$((i + 1))" > .git/refs/heads/b$i
        done
        echo 'ref: refs/heads/b1' > .git/HEAD
        echo 'ref: refs/heads/b1' > .git/refs/heads/b10
        echo x > x
    """,
    "packed refs with anything": r"""
        echo "$(git rev-parse HEAD) refs/heads/../../../../x" > refs
        printf '%s\n' '# pack-refs with: peeled' 'zzz refs/heads/x' '^abc' >> refs
        mv refs .git/packed-refs
        echo x > x
    """,
    "an index that is a link": r"""
        rm .git/index
        ln -s "$FOREIGN/.git/index" .git/index
        echo x > x
    """,
    "an index of rubbish": r"""
        head -c 5000 /dev/urandom > .git/index
        echo x > x
    """,
    "an index that names files outside": r"""
        rm .git/index
        b=$(git hash-object -w README.md)
        printf '100644 %s\tREADME.md\n' $b | git update-index --index-info
        sed -i 's#README.md#../../seet#' .git/index
        echo x > x
    """,
    "core.worktree": r"""
        git config core.worktree "$FOREIGN"
        echo x > x
    """,
    "links to files outside": r"""
        ln -s "$FOREIGN/secret" link
        ln -s "$FOREIGN" dir
        rm README.md
        ln -s "$FOREIGN/secret" README.md
    """,
    "a directory that became a link": r"""
        rm -r src
        ln -s "$FOREIGN" src
        cp "$FOREIGN/secret" /dev/null
        touch src/a.txt 2>/dev/null
    """,
    "ignore and attribute files that are links": r"""
        ln -sf "$FOREIGN/secret" .gitignore
        ln -sf "$FOREIGN/secret" .gitattributes
        echo x > x
    """,
    "an exclude file that is a link": r"""
        mkdir -p .git/info
        ln -sf "$FOREIGN/secret" .git/info/exclude
        echo x > x
    """,
    "a macro that names a filter": r"""
        printf '[attr]binary filter=x -text\n* binary\n' > .gitattributes
        git config filter.x.clean "$COMMAND"
        echo x > x
    """,
    "a reftable": r"""
        mkdir .git/reftable
        touch .git/reftable/tables.list
        echo 'ref: refs/heads/.invalid' > .git/HEAD
        echo x > x
    """,
    "grafts and replaced objects": r"""
        h=$(git rev-parse HEAD)
        mkdir -p .git/info .git/refs/replace
        echo $h > .git/info/grafts
        git replace -f $h $(git commit-tree HEAD^{tree} -m other) 2>/dev/null || true
        echo x > x
    """,
    "a worktree": r"""
        git worktree add -q wt
        cd wt
        @CONFIG@
        echo x > a.x
    """,
    "bare repository inside": r"""
        git init -q --bare inner
        cd inner
        @CONFIG@
        cd ..
        echo x > x
    """,
    "LFS settings in the tree": r"""
        git config -f .lfsconfig lfs.url "ext::$COMMAND"
        git config -f .lfsconfig lfs.standalonetransferagent x
        git config -f .lfsconfig lfs.customtransfer.x.path "$COMMAND"
        git config -f .lfsconfig lfs.extension.x.clean "$COMMAND"
        echo '*.bin filter=lfs -text' > .gitattributes
        echo content > a.bin
    """,
}


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    made = Case(tmp_path)
    yield made
    assert not made.marker.exists(), "a command of the script ran"


def everything_in(repository: Path) -> bytes:
    """The content of all that was pushed."""
    ids = subprocess.run(
        ["git", "cat-file", "--batch-all-objects", "--batch"], cwd=repository, capture_output=True, check=True
    )
    return ids.stdout


@pytest.mark.parametrize("script", CASES.values(), ids=CASES)
@pytest.mark.parametrize("lfs", [False, True], ids=["", "with LFS"])
def test_nothing_of_a_script_runs_and_nothing_foreign_is_pushed(case: Case, script: str, lfs: bool) -> None:
    """Pushed or refused with a sentence; the marker is not there, and the foreign content is not on the server."""
    case.run(script.replace("@CONFIG@", CONFIG).replace("@NESTED@", NESTED))
    case.marker.unlink(missing_ok=True)  # the script's own Git may have run it: that is within its rights
    case.workspace.lfs = lfs

    for act in (case.workspace.push, case.workspace.keep):
        with contextlib.suppress(PhaseError):
            act()

    assert not case.marker.exists()
    assert SECRET.encode() not in everything_in(case.served)
    for kept in (case.workspace.root / "kept").glob("*"):
        assert SECRET.encode() not in kept.read_bytes()


def test_the_marker_shows_a_command_that_runs(case: Case) -> None:
    """The corpus is worth something: a person's `git add` in that workspace runs the filter."""
    case.run(CONFIG + "echo '*.x filter=x' > .gitattributes; echo x > a.x")
    case.marker.unlink(missing_ok=True)

    case.workspace.run("git add -A 2>&1 || true")

    assert case.marker.exists()
    case.marker.unlink()


@pytest.mark.parametrize("submodules", [False, True])
def test_a_checkout_of_a_hostile_repository_runs_nothing(tmp_path: Path, submodules: bool) -> None:
    """Attributes that name filters, and submodules with an update command, are data."""
    case = Case(tmp_path)
    work = case.served.with_name("served.git.work")
    (work / ".gitattributes").write_text("[attr]evil filter=x diff=x merge=x\n* evil\n")
    (work / ".lfsconfig").write_text(f'[lfs "customtransfer.x"]\n\tpath = {case.command}\n')
    (work / ".gitmodules").write_text(
        f'[submodule "m"]\n\tpath = m\n\turl = {case.foreign.as_uri()}\n\tupdate = none\n'
        f'[core]\n\tfsmonitor = {case.command}\n[filter "x"]\n\tsmudge = {case.command}\n'
    )
    git(work, "add", ".")
    git(work, "commit", "-qm", "hostile")
    git(work, "push", "-q", "origin", "main")
    workspace = Workspace(tmp_path / "second", case.served.as_uri())

    try:
        workspace.check_out(submodules=submodules)
    except PhaseError:
        assert submodules

    assert not case.marker.exists()


def test_git_gets_no_environment_but_the_one_made_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: Case
) -> None:
    """A GIT_DIR in the environment of keruta names the user's own repository, which must stay as it is."""
    before = git(case.foreign, "rev-parse", "HEAD")
    for name, value in (
        ("GIT_DIR", str(case.foreign / ".git")),
        ("GIT_WORK_TREE", str(case.foreign)),
        ("GIT_INDEX_FILE", str(case.foreign / ".git" / "index")),
        ("GIT_EXTERNAL_DIFF", str(case.command)),
        ("GIT_CONFIG_COUNT", "1"),
        ("GIT_CONFIG_KEY_0", "core.fsmonitor"),
        ("GIT_CONFIG_VALUE_0", str(case.command)),
    ):
        monkeypatch.setenv(name, value)
    workspace = Workspace(tmp_path / "second", case.served.as_uri())
    workspace.check_out()
    (workspace.path / "new").write_text("new\n")

    pushed = workspace.push()

    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    assert git(case.served, "show", f"{pushed.commit}:new") == "new"
    assert (git(case.foreign, "rev-parse", "HEAD"), git(case.foreign, "status", "--porcelain")) == (before, "")


def test_no_git_process_is_started_in_the_workspace(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by its directory, its arguments or its environment."""
    seen: list[str] = []
    run: Callable[..., object] = Git.run

    def watched(self: Git, *arguments: str, **named: object) -> object:
        seen.append(f"{self.directory} {arguments} {self.env}")
        return run(self, *arguments, **named)

    monkeypatch.setattr(Git, "run", watched)
    case.run(NESTED + "\ncd ..; git add sub; git commit -qm x; echo 2 > sub/file; echo new > new")

    case.workspace.push()

    assert len(seen) > 5
    assert [line for line in seen if str(case.workspace.path) in line] == []
