"""The result branch against real Git servers: what a person would have pushed from that workspace."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.attempt import large_results
from keruta.adapters.git.credentials import Credential
from keruta.domain.naming import new_id
from keruta.domain.reports import Ended
from keruta.domain.specification import Specification
from keruta.domain.task import RepositoryRef, ResultBranch
from keruta.errors import PhaseError
from tests.support.ended_attempts import end_of
from tests.support.gitservers import GitHttp, GitSsh
from tests.support.repositories import ENV, add_commit, commit_on, git, make_repository
from tests.support.workspaces import Workspace

FILES = {
    "README.md": "# A repository\n",
    "src/a.txt": "a\n",
    "src/run.sh": "#!/bin/sh\n",
    "sub/b.txt": "b\n",
    "sub/deep/c.txt": "c\n",
    "other/d.txt": "d\n",
    "crlf.txt": "one\r\ntwo\r\n",
    ".gitignore": "*.log\nbuild/\n!keep.log\n",
    ".gitattributes": (
        "*.txt text=auto\n*.win text eol=crlf\n*.u16 text working-tree-encoding=UTF-16LE-BOM\n*.id ident\n"
    ),
    "日本語/ファイル.txt": "x\n",
}


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """A repository that is fetched from and pushed to by its path."""
    make_repository(tmp_path / "a.git", FILES)
    return tmp_path / "a.git"


@pytest.fixture
def workspace(tmp_path: Path, served: Path) -> Workspace:
    made = Workspace(tmp_path / "attempt", served.as_uri())
    made.check_out()
    return made


def refused(call: object, *arguments: object, **named: object) -> PhaseError:
    with pytest.raises(PhaseError) as caught:
        call(*arguments, **named)  # type: ignore[operator]
    return caught.value


def by_a_person(workspace: Workspace) -> str:
    """The tree of the commit that a person gets in a copy of the workspace."""
    copy = workspace.root / "copy"
    subprocess.run(["cp", "-a", workspace.path, copy], check=True)
    env = {**ENV, "GIT_OPTIONAL_LOCKS": "0"}
    subprocess.run(["git", "add", "-A"], cwd=copy, env=env, capture_output=True, check=False)
    subprocess.run(["git", "commit", "-qm", "x", "--allow-empty"], cwd=copy, env=env, capture_output=True, check=True)
    return git(copy, "rev-parse", "HEAD^{tree}")


SCRIPTS = {
    "changes": r"""
        echo more >> src/a.txt
        echo new > new
        chmod +x src/run.sh
        rm other/d.txt
    """,
    "sparse checkout": r"""
        git sparse-checkout set sub
        echo more >> sub/b.txt
    """,
    "sparse index": r"""
        git sparse-checkout set sub --sparse-index
        echo more >> sub/b.txt
    """,
    "sparse patterns": r"""
        git sparse-checkout set --no-cone '/*' '!/other/'
        echo x >> sub/b.txt
    """,
    "assume unchanged": r"""
        git update-index --assume-unchanged src/a.txt
        echo secret > src/a.txt
    """,
    "assume unchanged and gone": r"""
        git update-index --assume-unchanged src/a.txt
        rm src/a.txt
    """,
    "skip worktree": r"""
        git update-index --skip-worktree src/a.txt
        echo secret > src/a.txt
    """,
    "skip worktree after a change was staged": r"""
        echo staged > src/a.txt
        git add src/a.txt
        git update-index --skip-worktree src/a.txt
        echo x > src/a.txt
    """,
    "index version 4": r"""
        git update-index --index-version 4
        echo x > new
        rm sub/b.txt
    """,
    "split index": r"""
        git config splitIndex.maxPercentChange 100
        git update-index --split-index
        echo x > n
        git add n
        git rm -q sub/b.txt
        echo y >> src/a.txt
    """,
    "info/exclude": r"""
        mkdir -p .git/info
        echo .env.local >> .git/info/exclude
        echo secret > .env.local
        echo x > new
    """,
    "ignored": r"""
        echo x > a.log
        mkdir -p build/x
        echo x > build/x/y
        echo x > keep.log
    """,
    "forced": r"""
        mkdir build
        echo x > build/f
        git add -f build/f
        echo y > build/g
        echo z >> build/f
    """,
    "untracked and ignored": r"""
        git rm -q --cached src/a.txt
        echo 'a.txt' >> .gitignore
    """,
    "intent to add": r"""
        git add -N nothing 2>/dev/null || true
        echo x > later
        git add -N later
    """,
    "a file in a directory's place": r"""
        rm -r sub
        echo x > sub
    """,
    "a directory in a file's place": r"""
        rm README.md
        mkdir README.md
        echo x > README.md/y
    """,
    "links": r"""
        rm -r sub
        ln -s src sub
        ln -s /etc/passwd link
        ln -s nowhere dangling
    """,
    "line ends": r"""
        printf 'a\r\nb\r\n' > new.txt
        printf 'a\r\nb\r\n' > x.win
        echo x >> crlf.txt
    """,
    "encoding and ident": r"""
        printf '\377\376a\000\n\000' > x.u16
        printf '$Id: 12 $\n' > x.id
    """,
    "attributes changed": r"""
        echo '*.txt -text' > .gitattributes
        printf 'a\r\n' > n.txt
        printf 'b\r\n' > src/a.txt
    """,
    "attributes beside the repository": r"""
        mkdir -p .git/info
        echo '*.txt -text' > .git/info/attributes
        printf 'a\r\n' > n.txt
    """,
    "a macro": r"""
        echo '[attr]m text eol=lf' > .gitattributes
        echo '*.q m' >> .gitattributes
        printf 'a\r\n' > a.q
    """,
    "nested rules": r"""
        mkdir d
        printf 'a\r\n' > d/f.txt
        echo '* -text' > d/.gitattributes
        echo f2 > d/.gitignore
        touch d/f2
    """,
    "names": r"""
        echo x > 'a b'
        echo x > ':(top)z'
        echo x > "q'uote"
        echo x > '-n'
        echo x > 'ü日本'
        echo x > 'a\b'
    """,
    "bytes in names": r"""
        printf x > "$(printf 'bad\377name')"
        printf x > "$(printf 'new\nline')"
    """,
    "no files, and an empty .git": r"""
        mkdir empty
        mkfifo pipe
        mkdir -p x/.git
        echo y > x/y
    """,
    "a branch": r"""
        git checkout -q -b side
        echo 1 > 1
        git add .
        git commit -qm one
        echo 2 > 2
    """,
    "moved": r"""
        git mv sub moved
        git commit -qm moved
        git rm -q --cached -r other
    """,
    "same size": r"""
        touch src/*
        chmod 644 src/run.sh
        echo A > src/a.txt
    """,
    "no index": r"""
        rm .git/index
        echo x > new
    """,
    "repacked": r"""
        git gc -q --prune=now
        echo x > new
        git add .
        git commit -qm x
        git repack -qad
    """,
    "own settings": r"""
        git config core.fileMode false
        git config core.autocrlf false
        echo x > new
    """,
    "line ends by configuration": r"""
        git config core.autocrlf input
        printf 'a\r\nb\r\n' > new.md
        printf 'a\r\nb\r\n' > crlf.txt
    """,
    "modes of the index alone": r"""
        git config core.fileMode false
        chmod +x README.md
        git update-index --chmod=+x src/a.txt
    """,
    "lists beside the repository": r"""
        printf '[core]\nexcludesFile = "lists/ignored" ; mine\n' >> .git/config
        printf '\tattributesFile=lists\\\n/attributes\n' >> .git/config
        mkdir lists
        echo '*.key' > lists/ignored
        echo '*.x text' > lists/attributes
        echo secret > a.key
        printf 'a\r\n' > a.x
    """,
    "a case-only rename, and files that become links": r"""
        mv README.md readme.md
        rm src/a.txt
        ln -s run.sh src/a.txt
    """,
    "HEAD as a link": r"""
        echo 1 > 1
        git add .
        git commit -qm 1
        ln -sf refs/heads/main .git/HEAD
    """,
    "an orphan branch without commit": r"""
        git checkout -q --orphan fresh
        git rm -rfq .
        echo x > only
    """,
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_the_result_is_the_commit_that_a_person_would_get(workspace: Workspace, served: Path, script: str) -> None:
    """`git add --all && git commit` in that workspace makes the same tree."""
    workspace.run(script)
    expected = by_a_person(workspace)

    pushed = workspace.push()

    assert git(served, "rev-parse", f"{pushed.commit}^{{tree}}") == expected, git(served, "show", "--stat", "result")
    assert git(served, "rev-parse", "result") == pushed.commit
    assert git(served, "fsck", "--strict", "--no-dangling", pushed.commit) == ""


def test_an_unchanged_workspace_pushes_what_was_checked_out(workspace: Workspace, served: Path) -> None:
    """No empty commit is made."""
    assert workspace.push().commit == workspace.base


def test_a_file_changed_within_its_size_and_time_is_seen(workspace: Workspace, served: Path) -> None:
    """A script can set a file's modification time, but not its change time."""
    path = workspace.path / "src/a.txt"
    before = path.stat()
    path.write_text("b\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    pushed = workspace.push()

    assert git(served, "show", f"{pushed.commit}:src/a.txt") == "b"


def test_a_name_that_git_takes_for_its_own_directory_is_left_out_and_named(workspace: Workspace, served: Path) -> None:
    """On some file systems it would be `.git`."""
    for name in (".git.", "git~1", "new"):
        (workspace.path / name).write_text("x")

    workspace.push()

    assert git(served, "diff", "--name-only", workspace.base, "result") == "new"
    assert len([line for line in workspace.said if ".git." in line or "git~1" in line]) == 2


@pytest.mark.parametrize("kind", ["clone", "init", "worktree", "separate git directory"])
def test_a_nested_repository_is_left_out_and_named(workspace: Workspace, served: Path, kind: str) -> None:
    """Pushed as a gitlink it would break every later checkout with submodules."""
    workspace.run(
        {
            "clone": "git clone -q . vendor/nested",
            "init": "git init -q vendor/nested; cd vendor/nested; echo x > x; git add .; git commit -qm x",
            "worktree": "git worktree add -q vendor/nested",
            "separate git directory": "git init -q --separate-git-dir=.git/other vendor/nested",
        }[kind]
    )
    (workspace.path / "new").write_text("new\n")

    workspace.push()

    assert git(served, "diff", "--name-only", workspace.base, "result") == "new"
    assert [line for line in workspace.said if "vendor/nested" in line]


def test_a_registered_submodule_moves_with_its_head(tmp_path: Path, served: Path) -> None:
    """As `git add --all` does it; its files are no files of the workspace."""
    inner = make_repository(tmp_path / "inner.git")
    work = served.with_name("a.git.work")
    git(
        work, "-c", "protocol.file.allow=always", "submodule", "add", "-q", (tmp_path / "inner.git").as_uri(), "sub/mod"
    )
    git(work, "commit", "-qm", "with a submodule")
    git(work, "push", "-q", "origin", "main")
    workspace = Workspace(tmp_path / "attempt", served.as_uri())
    workspace.check_out(submodules=True)
    moved = workspace.run(
        "cd sub/mod; echo x > x; git add x; git commit -qm moved; echo dirt > dirt; git rev-parse HEAD"
    )
    expected = by_a_person(workspace)

    pushed = workspace.push()

    assert git(served, "rev-parse", f"{pushed.commit}:sub/mod") == moved != inner
    assert git(served, "rev-parse", f"{pushed.commit}^{{tree}}") == expected


def test_a_submodule_that_was_not_checked_out_stays(tmp_path: Path, served: Path) -> None:
    """Its directory is empty, and HEAD names its commit."""
    inner = make_repository(tmp_path / "inner.git")
    work = served.with_name("a.git.work")
    git(work, "-c", "protocol.file.allow=always", "submodule", "add", "-q", (tmp_path / "inner.git").as_uri(), "mod")
    git(work, "commit", "-qm", "with a submodule")
    git(work, "push", "-q", "origin", "main")
    workspace = Workspace(tmp_path / "attempt", served.as_uri())
    workspace.check_out()
    workspace.run("echo new > new")

    workspace.push()

    assert git(served, "rev-parse", "result:mod") == inner


# ------------------------------------------------------------ commits and history


@pytest.mark.parametrize("name", ["fix#1", "a+b", "user@host", "日本語", "全角　空白", "deep/er/still", "x" * 180])
def test_commits_on_a_branch_of_any_name_stay_the_scripts_own(workspace: Workspace, served: Path, name: str) -> None:
    """With their messages and authors."""
    workspace.run(
        'git checkout -q -b "$NAME"; echo 1 > 1; git add .; git commit -qm one --author "Me <me@x>"', NAME=name
    )
    workspace.run("git pack-refs --all; echo 2 > 2; git add .; git commit -qm two")

    pushed = workspace.push(name)

    assert pushed.branch == name
    assert git(served, "log", "--format=%an %s", f"{workspace.base}..refs/heads/{name}") == "Test two\nMe one"


def test_a_commit_on_another_branch_is_named_and_kept(workspace: Workspace, served: Path) -> None:
    """HEAD is what is pushed; what it does not lead to is not lost silently."""
    workspace.run("git checkout -q -b side; echo 1 > 1; git add .; git commit -qm one; git checkout -q -; echo 2 > 2")

    workspace.push()

    assert git(served, "diff", "--name-only", workspace.base, "result") == "2"
    assert any("the branch side" in line for line in workspace.said)


@pytest.mark.parametrize(
    ("script", "named"),
    [
        (
            "git checkout -q --detach; git commit -qm t; git tag -am t v9; git checkout -q main",
            "1 commit of the tag v9",
        ),
        ("git stash -q", "what is stashed"),
        ("git commit -qm n; git notes add -m note", "1 commit of refs/notes/commits"),
    ],
)
def test_what_only_another_ref_leads_to_is_named_and_kept(
    workspace: Workspace, tmp_path: Path, script: str, named: str
) -> None:
    """A tag, the stash, a note: in the bundle, by its name."""
    workspace.run(f"echo 1 > 1; git add .; {script}")

    files = workspace.keep()

    assert f"not in the result: {named}; HEAD is where the result is taken from" in workspace.said
    ref = {"1 commit of the tag v9": "refs/tags/v9", "what is stashed": "refs/stash"}.get(named, "refs/notes/commits")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", workspace.url, str(clone))
    git(clone, "fetch", "-q", str(files[0]), f"{ref}:refs/heads/found")


@pytest.mark.parametrize(
    "leave", ["git reset -q --hard HEAD~2", "git checkout -q --detach; git branch -q -D main; git checkout -q HEAD~2"]
)
def test_commits_that_only_the_reflog_leads_to_are_named_and_kept(
    workspace: Workspace, tmp_path: Path, leave: str
) -> None:
    """After a reset, or without their branch."""
    workspace.run("for n in 1 2; do echo $n > lost$n; git add .; git commit -qm $n; done")
    lost = workspace.run("git rev-parse HEAD")
    workspace.run(leave)

    files = workspace.keep()

    assert any(f"2 commits up to {lost[:12]}, which no branch has" in line for line in workspace.said)
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", workspace.url, str(clone))
    git(clone, "fetch", "-q", str(files[0]), f"refs/other/left-{lost[:12]}:refs/heads/found")
    assert git(clone, "show", "found:lost1") == "1"


@pytest.mark.parametrize(
    "script",
    [
        "git reset -q --soft HEAD~2; git commit -qm both",
        "git reset -q HEAD~2",
        "git commit -q --amend -m better",
        "git checkout -q HEAD~1; git checkout -q main",
    ],
)
def test_commits_whose_files_are_in_the_result_are_not_named(workspace: Workspace, script: str) -> None:
    """Squashed, written anew, or looked at and left: nothing is lost."""
    workspace.run("for n in 1 2; do echo $n > $n; git add .; git commit -qm $n; done")
    workspace.run(script)

    workspace.keep()

    assert not any("not in the result" in line for line in workspace.said)


def test_what_was_begun_and_not_finished_is_named(workspace: Workspace, served: Path) -> None:
    """A rebase that stopped: HEAD and the files count, and the log says what they are."""
    workspace.run("git checkout -qb s; echo s > README.md; git commit -qam s; git checkout -q main")
    workspace.run("echo m > README.md; git commit -qam m; git rebase -q s || true")

    workspace.push()

    assert git(served, "log", "--format=%s", "result").splitlines()[:2] == ["The result", "s"]
    assert any(line.startswith("a rebase was not finished in the workspace") for line in workspace.said)
    assert any("1 commit of the branch main" in line for line in workspace.said)


def test_an_amended_base_has_the_parents_of_the_base(tmp_path: Path, served: Path) -> None:
    """In a shallow clone `--amend` makes a root commit, which no server could merge."""
    first = git(served, "rev-parse", "main")
    add_commit(served.with_name("a.git.work"), {"second": "2"}, "second")
    git(served.with_name("a.git.work"), "push", "-q", "origin", "main")
    workspace = Workspace(tmp_path / "attempt", served.as_uri())
    workspace.check_out()
    workspace.run(
        "echo 3 > third; git add .; git commit -q --amend -m amended; echo 4 > 4; git add .; git commit -qm four"
    )

    workspace.push()

    assert git(served, "log", "--format=%s", "result") == "four\namended\nfirst"
    assert git(served, "merge-base", "main", "result") == first
    assert git(served, "show", "result:third") == "3"


def test_a_new_history_is_pushed_as_it_is(workspace: Workspace, served: Path) -> None:
    """An orphan branch, as for published pages, has no parents."""
    workspace.run("git checkout -q --orphan pages; git rm -rfq .; echo x > index.html; git add .; git commit -qm pages")

    workspace.push("pages")

    assert git(served, "log", "--format=%s", "pages") == "pages"


@pytest.mark.parametrize("how", ["rebase", "merge"])
def test_a_rebase_or_merge_onto_a_shallow_main(workspace: Workspace, served: Path, how: str) -> None:
    """Commits that the script fetched without their history are joined to the server's."""
    work = served.with_name("a.git.work")
    for number in range(3):
        add_commit(work, {f"main{number}": "x"}, f"main {number}")
    git(work, "push", "-q", "origin", "main")
    workspace.run("echo 1 > 1; git add .; git commit -qm mine; git fetch -q --depth=1 origin main")
    workspace.run(
        {
            "rebase": "git rebase -q --onto FETCH_HEAD HEAD~1",
            "merge": "git merge -q --allow-unrelated-histories FETCH_HEAD",
        }[how]
    )

    pushed = workspace.push()

    assert git(served, "merge-base", "--is-ancestor", "main", "result") == ""
    assert git(served, "show", f"{pushed.commit}:1") == "1"


@pytest.mark.parametrize(
    "script", ["git fetch -q --unshallow", "git clone -q . copy; rm -rf copy", "git fetch -q --depth=50"]
)
def test_history_that_was_fetched_or_linked_is_no_hindrance(tmp_path: Path, served: Path, script: str) -> None:
    """`git clone .` links the objects' files; `--unshallow` brings the rest."""
    add_commit(served.with_name("a.git.work"), {"second": "2"}, "second")
    git(served.with_name("a.git.work"), "push", "-q", "origin", "main")
    workspace = Workspace(tmp_path / "attempt", served.as_uri())
    workspace.check_out()
    workspace.run(f"echo 1 > 1; git add .; git commit -qm mine; {script}; echo 2 > 2")

    workspace.push()

    assert git(served, "log", "--format=%s", "result") == "The result\nmine\nsecond\nfirst"


def test_a_conflict_that_was_not_resolved_is_named(workspace: Workspace, served: Path) -> None:
    """The file goes with its marks, as `git add` takes it; whoever reads the log knows."""
    workspace.run("git checkout -qb side; echo side > new; git add .; git commit -qm one; git checkout -q main")
    workspace.run("echo main > new; git add .; git commit -qm two; git merge -q side || true")
    pushed = workspace.push("result")

    assert pushed is not None
    assert "<<<<<<<" in git(served, "show", "result:new")
    assert "in the result with an unresolved conflict: new" in workspace.said


def test_a_merge_that_was_not_committed_is_a_merge(workspace: Workspace, served: Path) -> None:
    """As `git commit` would conclude it."""
    workspace.run("git checkout -q -b side; echo 1 > 1; git add .; git commit -qm one; git checkout -q -; echo 2 > 2")
    workspace.run("git add .; git commit -qm two; git merge -q --no-commit side")

    workspace.push()

    assert len(git(served, "rev-parse", "result^@").splitlines()) == 2


def test_a_lost_git_directory_is_said(workspace: Workspace) -> None:
    """There is nothing that the result could stand on."""
    shutil.rmtree(workspace.path / ".git")

    error = refused(workspace.push)

    assert error.reason == "PushFailed"
    assert ".git" in error.message.text


def test_a_repository_of_sha256(tmp_path: Path) -> None:
    """Object ids of 64 digits, there and back."""
    work, bare = tmp_path / "w", tmp_path / "b.git"
    work.mkdir()
    git(work, "init", "-q", "--object-format=sha256", "-b", "main")
    add_commit(work, {"a": "a"}, "first")
    git(tmp_path, "clone", "-q", "--bare", str(work), str(bare))
    workspace = Workspace(tmp_path / "attempt", bare.as_uri())
    workspace.check_out()
    workspace.run("echo b > b; git add .; git commit -qm mine; echo c > c")

    pushed = workspace.push()

    assert len(pushed.commit) == 64
    assert git(bare, "log", "--format=%s", "result") == "The result\nmine\nfirst"


def test_old_faults_in_history_hinder_nothing(tmp_path: Path, served: Path) -> None:
    """A zero-padded mode and a bad time zone in what the server has already; only what is new is checked."""
    work = served.with_name("a.git.work")
    blob = git(work, "rev-parse", "HEAD:README.md")
    inner = git(work, "hash-object", "-w", "-t", "tree", "--literally", "--stdin",
                stdin=b"0100644 README.md\0" + bytes.fromhex(blob))  # fmt: skip
    outer = b"040000 old\0" + bytes.fromhex(inner)
    tree = git(work, "hash-object", "-w", "-t", "tree", "--literally", "--stdin", stdin=outer)
    text = f"tree {tree}\nauthor A <a@x> 1 +051800\ncommitter A <a@x> 1 +051800\n\nold\n".encode()
    commit = git(work, "hash-object", "-w", "-t", "commit", "--literally", "--stdin", stdin=text)
    git(work, "push", "-q", "origin", f"{commit}:refs/heads/old")
    workspace = Workspace(tmp_path / "attempt", served.as_uri())
    workspace.check_out("old")
    workspace.run("echo new > new; git add .; git commit -qm new")

    workspace.push()

    assert git(served, "show", "result:new") == "new"


def test_a_fault_in_a_new_commit_is_refused(workspace: Workspace, served: Path) -> None:
    """The script's own objects are checked as a careful server does it."""
    text = "tree %s\\nparent %s\\nauthor A 1 +0000\\ncommitter A <a@x> 1 +0000\\n\\nbad\\n"
    workspace.run(
        f"printf '{text}' $(git rev-parse HEAD^{{tree}} HEAD) > ../text;"
        "git reset -q --soft $(git hash-object -w -t commit --literally ../text)"
    )

    error = refused(workspace.push)

    assert error.reason == "PushFailed"
    assert git(served, "for-each-ref", "refs/heads/result") == ""


# ------------------------------------------------------------ what is there already


def test_a_branch_that_exists_is_not_touched(workspace: Workspace, served: Path) -> None:
    """By default; the sentence names it."""
    theirs = commit_on(served, "result", "theirs")
    workspace.run("echo x > x")

    error = refused(workspace.push)

    assert (error.reason, git(served, "rev-parse", "result")) == ("BranchExists", theirs)
    assert "The branch result exists already" in error.message.text


def test_update_adds_commits_to_a_branch(tmp_path: Path, served: Path) -> None:
    """A task that starts from the branch; every night."""
    commit_on(served, "nightly", "theirs")
    for night in (1, 2):
        workspace = Workspace(tmp_path / f"night{night}", served.as_uri())
        workspace.check_out("nightly")
        workspace.run(f"echo {night} > night{night}")
        workspace.push("nightly", "update")

    assert git(served, "log", "--format=%s", "nightly").splitlines()[:3] == ["The result", "The result", "theirs"]


def test_update_of_an_older_branch_is_a_fast_forward(tmp_path: Path, served: Path) -> None:
    """The branch stands where the workspace's history does not reach; the server's is asked."""
    git(served, "branch", "result", "main")
    for number in range(3):
        add_commit(served.with_name("a.git.work"), {f"m{number}": "x"}, f"m{number}")
    git(served.with_name("a.git.work"), "push", "-q", "origin", "main")
    workspace = Workspace(tmp_path / "attempt", served.as_uri())
    workspace.check_out()
    workspace.run("echo x > x")

    workspace.push("result", "update")

    assert git(served, "show", "result:x") == "x"


def test_update_takes_no_commit_away(workspace: Workspace, served: Path) -> None:
    """Fast-forward only."""
    theirs = commit_on(served, "result", "theirs")
    workspace.run("echo x > x")

    error = refused(workspace.push, "result", "update")

    assert (error.reason, git(served, "rev-parse", "result")) == ("BranchExists", theirs)


@pytest.mark.parametrize("ahead", [True, False])
def test_update_without_changes_leaves_the_branch(tmp_path: Path, served: Path, *, ahead: bool) -> None:
    """A nightly task that found nothing to do succeeds, also where main went on meanwhile."""
    theirs = commit_on(served, "out", "theirs")
    if not ahead:
        commit_on(served, "main", "more")

    end, kept = ended(tmp_path, served, "script 0\n", "true", if_exists="update")

    assert (end.status, end.result_branch) == ("succeeded", None)
    assert git(served, "rev-parse", "out") == theirs
    assert not (kept / "result.bundle").exists()


def test_update_with_commits_that_the_branch_has_leaves_it(workspace: Workspace, served: Path) -> None:
    """The script merged an earlier state of the branch, and added nothing."""
    earlier = commit_on(served, "nightly", "theirs")
    workspace.run("git fetch -q origin nightly; git merge -q --ff-only FETCH_HEAD")
    work = served.with_name("a.git.work")
    later = add_commit(work, {"later": "x"}, "later")
    git(work, "push", "-q", str(served), "HEAD:refs/heads/nightly")

    pushed = workspace.push("nightly", "update")

    assert pushed.commit == earlier
    assert git(served, "rev-parse", "nightly") == later
    assert "nothing new for the branch nightly: it stays as it is" in workspace.said


def test_replace_takes_the_branch_as_it_was_seen(workspace: Workspace, served: Path) -> None:
    """A push with lease."""
    commit_on(served, "result", "theirs")
    workspace.run("echo x > x")

    pushed = workspace.push("result", "replace")

    assert git(served, "rev-parse", "result") == pushed.commit


def test_suffix_takes_the_next_free_name(workspace: Workspace, served: Path) -> None:
    """And the answer says which."""
    commit_on(served, "result", "theirs")
    commit_on(served, "result-2", "theirs")
    workspace.run("echo x > x")

    pushed = workspace.push("result", "suffix")

    assert pushed.branch == "result-3"
    assert git(served, "rev-parse", "result-3") == pushed.commit


@pytest.mark.parametrize(
    ("if_exists", "theirs", "expected"),
    [
        ("fail", "result", "BranchExists"),
        ("update", "result", "BranchExists"),
        ("suffix", "result/x", "result-2"),
        ("replace", "result", "result"),
        ("replace", "result/x", "BranchRefused"),
    ],
)
def test_a_branch_that_comes_between_the_look_and_the_push(
    workspace: Workspace, served: Path, if_exists: str, theirs: str, expected: str
) -> None:
    """What the server has is looked at again."""
    workspace.run("echo x > x; git add .; git commit -qm x")
    commit_on(served, "other", "theirs")
    once = served / "hooks" / "pre-receive"
    once.parent.mkdir(exist_ok=True)
    make = f"unset GIT_QUARANTINE_PATH; git update-ref refs/heads/{theirs} refs/heads/other"
    once.write_text(f"#!/bin/sh\nrm '{once}'\n{make}\n")
    once.chmod(0o755)

    try:
        found = workspace.push("result", if_exists).branch
    except PhaseError as error:
        found = error.reason

    assert found == expected


def test_a_branch_that_the_server_hides_is_not_asked_for_without_end(workspace: Workspace, served: Path) -> None:
    """A few times, as if others had pushed to it."""
    commit_on(served, "result", "theirs")
    git(served, "config", "uploadpack.hideRefs", "refs/heads/result")
    workspace.run("echo x > x")

    error = refused(workspace.push)

    assert (error.reason, len(workspace.slept)) == ("BranchExists", 4)


def test_what_an_earlier_attempt_pushed_is_replaced(workspace: Workspace, served: Path) -> None:
    """An earlier attempt's commit belongs to the task as long as nobody has added to it."""
    before = commit_on(served, "result", "earlier attempt")
    workspace.run("echo x > x")

    pushed = workspace.push(ours=[("result", before)])

    assert git(served, "rev-parse", "result") == pushed.commit
    after = commit_on(served, "result", "somebody's")
    assert refused(workspace.push, ours=[("result", before)]).reason == "BranchExists"
    assert git(served, "rev-parse", "result") == after


@pytest.mark.parametrize(("there", "wanted"), [("a", "a/b"), ("a/b", "a"), ("a", "a/b/c")])
def test_names_that_clash_are_told(workspace: Workspace, served: Path, there: str, wanted: str) -> None:
    """`a` and `a/b` can't both be branches."""
    commit_on(served, there, "theirs")
    workspace.run("echo x > x")

    error = refused(workspace.push, wanted)

    assert error.reason == "BranchRefused"
    assert f"The branch {wanted} can't be beside the branch {there}" in error.message.text


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        ("GH006: Protected branch update failed for refs/heads/result.", "is protected"),
        (
            "refusing to allow a GitHub App to create or update workflow `.github/workflows/x.yml` "
            "without `workflows` permission",
            "may not change workflow files",
        ),
        ("the file CHANGELOG does not exist", "The Git server refused the branch result"),
        ("error: 403 and Permission denied (publickey), says the hook", "The Git server refused the branch result"),
        ("cannot lock ref: reference already exists; cannot create", "The Git server refused the branch result"),
    ],
)
def test_what_a_server_says_is_told(workspace: Workspace, served: Path, says: str, expected: str) -> None:
    """A hook's words decide nothing but are shown, in the log and in the message."""
    hook = served / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ncat <<'END'\n{says}\nEND\nexit 1\n")
    hook.chmod(0o755)
    workspace.run("echo x > x")

    error = refused(workspace.push)

    assert error.reason == "BranchRefused"
    assert expected in error.message.text
    assert says.split("`")[0].strip() in error.message.text
    assert f"remote: {says}" in workspace.said
    assert any(line.startswith("! [remote rejected]") for line in workspace.said)


def test_a_server_s_words_are_shown_as_a_terminal_shows_them(workspace: Workspace, served: Path) -> None:
    """Lines that end as on Windows, Japanese spaces, colours and empty lines: all words are there, nothing else."""
    hook = served / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    says = "　理由：　命名規則\r\n\x1b[31m赤\x1b[0m\tb\r\n\r\n 10%\r 20%\rdone\n"
    hook.write_text(f"#!/bin/sh\ncat <<'END'\n{says}END\nexit 1\n", newline="")
    hook.chmod(0o755)
    workspace.run("echo x > x")

    error = refused(workspace.push)

    expected = ["理由：　命名規則", "赤 b", "done"]
    assert [line for line in workspace.said if line.startswith("remote: ")] == [f"remote: {one}" for one in expected]
    assert " ".join(expected) in error.message.text


def test_no_suffix_helps_where_a_directory_of_the_name_is_a_branch(workspace: Workspace, served: Path) -> None:
    """Beside `top` there is no `top/x`, and no `top/x-2`: the branch that is in the way is named."""
    subprocess.run(["git", "-C", served, "branch", "top"], check=True)
    workspace.run("echo x > x")

    error = refused(lambda: workspace.push("top/x", if_exists="suffix"))

    assert "The branch top/x can't be beside the branch top:" in error.message.text


def test_a_branch_that_is_checked_out_where_it_is_pushed_to_is_told_so(workspace: Workspace, served: Path) -> None:
    """A person's own clone on this machine refuses its current branch, in many words of Git's."""
    subprocess.run(["git", "-C", served, "config", "core.bare", "false"], check=True)
    subprocess.run(["git", "-C", served, "config", "receive.denyCurrentBranch", "refuse"], check=True)
    workspace.run("echo x > x")

    error = refused(lambda: workspace.push("main", if_exists="update"))

    assert error.reason == "BranchRefused"
    assert error.message.text.startswith("The branch main is checked out in the repository that it is pushed to")


def test_a_branch_whose_name_has_a_line_separator_stands_for_no_other(workspace: Workspace, served: Path) -> None:
    """U+2028 ends no line of Git's: beside `result` and that character, `result` is free."""
    subprocess.run(["git", "-C", served, "branch", "result\u2028more"], check=True)
    workspace.run("echo x > x")

    assert workspace.push().branch == "result"


# ------------------------------------------------------------ servers that fail, and what is kept


@pytest.fixture
def http(tmp_path: Path) -> Iterator[GitHttp]:
    with GitHttp(tmp_path, {"pusher": ("a-token", True), "reader": ("b-token", False)}) as server:
        yield server


@pytest.fixture
def over_http(tmp_path: Path, served: Path, http: GitHttp) -> Workspace:
    credential = Credential(name="pusher", username="pusher", token="a-token")
    made = Workspace(tmp_path / "attempt", http.url("a.git"), credential)
    made.check_out()
    made.run("echo x > x")
    return made


@pytest.mark.parametrize("fault", ["503", "429", "reset", "503 to the pack"])
def test_a_server_that_fails_for_a_moment_is_asked_again(
    over_http: Workspace, http: GitHttp, served: Path, fault: str
) -> None:
    """Within the time limit."""
    http.faults = [fault, fault]

    pushed = over_http.push()

    assert git(served, "rev-parse", "result") == pushed.commit
    assert http.faults == []
    assert over_http.slept


def slow_hook(served: Path, seconds: int) -> None:
    """A check of the server's that takes a while and then refuses."""
    hook = served / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\nsleep {seconds}\necho 'too many files'\nexit 1\n")
    hook.chmod(0o755)


def test_a_server_whose_checks_take_long_is_waited_for(over_http: Workspace, served: Path) -> None:
    """Its silence in a push is no stall: the refusal is told as one, and not asked for again."""
    slow_hook(served, 4)

    error = refused(over_http.push, stall_seconds=1)

    assert (error.reason, over_http.slept) == ("BranchRefused", [])
    assert "too many files" in error.message.text


def test_a_push_without_an_answer_is_told_as_that(over_http: Workspace, served: Path) -> None:
    """It is not made again: the server may still be at work on it."""
    slow_hook(served, 6)

    error = refused(over_http.push, answer_seconds=1)

    assert (error.reason, error.message.code, over_http.slept) == ("PushFailed", "push_unanswered", [])


class Waits(list[float]):
    """The waits of a push; each runs something else."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        super().__init__()
        self._meanwhile = meanwhile

    def append(self, seconds: float) -> None:
        super().append(seconds)
        self._meanwhile()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
def test_a_server_whose_disk_is_full_for_a_moment_is_asked_again(tmp_path: Path, served: Path) -> None:
    """Its words are Git's own about its disk, not a refusal of the branch."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(disk)], check=False).returncode != 0:
        pytest.skip("nothing can be mounted here")
    try:
        shutil.copytree(served, disk / "a.git")
        workspace = Workspace(tmp_path / "attempt", (disk / "a.git").as_uri())
        workspace.check_out()
        workspace.run("head -c 2000000 /dev/urandom > big")
        larger = ["mount", "-o", "remount,size=20m", str(disk)]
        workspace.slept = Waits(lambda: subprocess.run(larger, check=True))

        pushed = workspace.push()

        assert git(disk / "a.git", "rev-parse", "result") == pushed.commit
        assert any("could not store" in line and "No space left" in line for line in workspace.said)
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_push_whose_answer_was_lost_is_a_push(over_http: Workspace, http: GitHttp, served: Path) -> None:
    """The branch is there already with this very commit."""
    http.faults = ["lost answer to the pack"]

    pushed = over_http.push()

    assert git(served, "rev-parse", "result") == pushed.commit


def test_a_refused_credential_is_not_tried_again(over_http: Workspace) -> None:
    """A second try would be refused as well."""
    reader = Credential(name="reader", username="reader", token="b-token")

    error = refused(over_http.push, credential=reader)

    assert (error.reason, over_http.slept) == ("PushRefused", [])


def test_an_ssh_server_that_drops_the_connection_is_asked_again(tmp_path: Path, served: Path) -> None:
    """As http's failures are."""
    (tmp_path / "ssh").mkdir()
    with GitSsh(tmp_path / "ssh") as ssh:
        credential = Credential(name="ssh", ssh_key=ssh.key, known_hosts=ssh.known_hosts)
        workspace = Workspace(tmp_path / "attempt", ssh.url(served), credential)
        workspace.check_out()
        workspace.run("echo x > x")
        dropped = served / "hooks" / "pre-receive"
        dropped.parent.mkdir(exist_ok=True)
        dropped.write_text(f"#!/bin/sh\nrm '{dropped}'; kill -9 $(ps -o ppid= $PPID | head -1)\n")
        dropped.chmod(0o755)

        pushed = workspace.push()

    assert git(served, "rev-parse", "result") == pushed.commit
    assert len(workspace.slept) == 1


def test_work_that_was_not_pushed_is_kept_as_a_bundle_and_a_patch(
    workspace: Workspace, served: Path, tmp_path: Path
) -> None:
    """The bundle is fetched into a clone, the patch applies to the base."""
    workspace.run("git checkout -q -b side; echo s > s; git add .; git commit -qm s; git checkout -q -")
    workspace.run("echo 1 > 1; git add .; git commit -qm one; printf '\\0bin' > bin; rm src/a.txt")

    files = workspace.keep("fix/one")

    assert [path.name for path in files] == ["result.bundle", "result.patch"]
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(served), str(clone))
    git(clone, "fetch", "-q", str(files[0]))
    assert git(clone, "log", "--format=%s", "FETCH_HEAD") == "The result\none\nfirst"
    git(clone, "fetch", "-q", str(files[0]), "refs/heads/fix/one:refs/heads/fix/one", "refs/heads/side:refs/heads/side")
    assert git(clone, "show", "side:s") == "s"
    git(clone, "apply", "--index", str(files[1]))
    assert git(clone, "write-tree") == git(clone, "rev-parse", "fix/one^{tree}")


@pytest.mark.parametrize("branch", ["side", "side/a", "a"])
def test_work_is_kept_beside_a_branch_whose_name_clashes(workspace: Workspace, branch: str) -> None:
    """Both are in the bundle, the result by its own name."""
    make = "git checkout -qb $b; echo s > $b.txt; git add .; git commit -qm $b"
    workspace.run(f"mkdir a; for b in side a/b; do {make}; done; git checkout -q main; echo 1 > 1")

    files = workspace.keep(branch)

    listed = git(workspace.path, "bundle", "list-heads", str(files[0])).splitlines()
    heads = {name: commit for commit, _, name in (line.partition(" ") for line in listed)}
    assert heads[f"refs/heads/{branch}"] == heads["HEAD"]
    assert len(set(heads.values())) == 3


def test_a_workspace_without_work_is_not_kept(workspace: Workspace) -> None:
    """There is nothing to lose."""
    assert workspace.keep() == []


def test_a_large_change_is_kept_without_a_patch(workspace: Workspace) -> None:
    """The bundle has it."""
    (workspace.path / "large").write_bytes(os.urandom(2 << 20))

    assert [path.name for path in workspace.keep()] == ["result.bundle"]


def test_large_files_go_before_the_branch(tmp_path: Path, http: GitHttp) -> None:
    """With Git LFS the branch has pointers, and the server the files."""
    if shutil.which("git-lfs") is None:
        pytest.skip("SKIPPED LOUDLY: git-lfs is not installed")
    make_repository(tmp_path / "lfs.git", {".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n"})
    credential = Credential(name="pusher", username="pusher", token="a-token")
    workspace = Workspace(tmp_path / "with-lfs", http.url("lfs.git"), credential, lfs=True)
    workspace.check_out()
    (workspace.path / "x.bin").write_bytes(b"large content")

    workspace.push()

    assert git(tmp_path / "lfs.git", "show", "result:x.bin").startswith("version https://git-lfs")
    assert b"large content" in http.lfs.files.values()


def test_large_files_that_the_script_committed_go_where_the_repository_says(tmp_path: Path, http: GitHttp) -> None:
    """Every one that a new commit names, to the server of the base commit's .lfsconfig, and without the credential."""
    if shutil.which("git-lfs") is None:
        pytest.skip("SKIPPED LOUDLY: git-lfs is not installed")
    with GitHttp(tmp_path / "elsewhere") as elsewhere:
        files = {
            ".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n",
            ".lfsconfig": f"[lfs]\n\turl = {elsewhere.url('x')}/info/lfs\n",
        }
        make_repository(tmp_path / "lfs.git", files)
        credential = Credential(name="pusher", username="pusher", token="a-token")
        workspace = Workspace(tmp_path / "with-lfs", http.url("lfs.git"), credential, lfs=True)
        workspace.check_out()
        workspace.run("git lfs install --local; for n in 1 2; do echo $n > x.bin; git add .; git commit -qm $n; done")
        workspace.run("echo 3 > x.bin; rm .lfsconfig")

        kept = workspace.keep()
        workspace.push()

    assert sorted(elsewhere.lfs.files.values()) == [b"1\n", b"2\n", b"3\n"]
    assert http.lfs.files == {}
    unpacked = tmp_path / "unpacked.git"
    large_results.unpack(unpacked, kept[1])
    assert [file.read_text() for file in large_results.all_of(unpacked)] != []
    assert {file.read_bytes() for file in large_results.all_of(unpacked)} == set(elsewhere.lfs.files.values())


# ------------------------------------------------------------ in an attempt


def ended(
    tmp_path: Path, served: Path, exit_codes: str, script: str, *, paths: tuple[str, ...] = (), **result: str
) -> tuple[Ended, Path]:
    """The end of an attempt whose script did that, and where its files are kept."""
    repository = RepositoryRef(url=served.as_uri(), paths=paths)
    target = ResultBranch(branch="out", **result)  # type: ignore[arg-type]
    specification = Specification(task=new_id(), attempt=1, repository=repository, script="x", result=target)
    end = end_of(tmp_path, specification, script, exit_codes=exit_codes)
    return end, tmp_path / "results" / specification.task / "1"


def test_an_attempt_that_succeeded_pushes_its_result(tmp_path: Path, served: Path) -> None:
    """And keeps no bundle: the work is on the server."""
    end, kept = ended(tmp_path, served, "script 0\n", "echo x > x")

    assert (end.status, end.result_branch) == ("succeeded", "out"), end
    assert git(served, "rev-parse", "out") == end.result_commit
    assert not (kept / "result.bundle").exists()


def test_work_is_kept_when_its_check_failed(tmp_path: Path, served: Path) -> None:
    """Not pushed, but an artifact."""
    end, kept = ended(tmp_path, served, "script 0\ncheck 1\n", "echo x > x")

    assert (end.status, end.reason) == ("failed", "CheckFailed")
    assert {"result.bundle", "result.patch"} <= {one.path for one in end.artifacts}
    assert git(kept, "bundle", "list-heads", "result.bundle").endswith("refs/heads/out")
    assert git(served, "for-each-ref", "refs/heads/out") == ""


def test_a_file_that_is_not_in_its_encoding_is_kept_as_it_is(tmp_path: Path, served: Path) -> None:
    """`git add` refuses it; the attempt fails, and its work is there."""
    script = "echo '*.sj text working-tree-encoding=SHIFT_JIS' > .gitattributes; printf '\\377\\n' > a.sj; echo x > x"

    end, kept = ended(tmp_path, served, "script 0\n", script)

    assert (end.status, end.reason) == ("failed", "PushFailed")
    git(served, "fetch", "-q", str(kept / "result.bundle"), "HEAD:refs/heads/out")
    assert git(served, "diff", "--name-only", "main", "out").split() == [".gitattributes", "a.sj", "x"]


@pytest.mark.parametrize(
    "damage",
    ["rm -rf .git", "git init -q --separate-git-dir=../elsewhere .", "echo rubbish > .git/index",
     "git commit -qm x; rm -rf .git/objects/??"],
)  # fmt: skip
def test_files_are_kept_when_their_repository_is_damaged(tmp_path: Path, served: Path, damage: str) -> None:
    """As one commit on the one that was checked out."""
    end, kept = ended(tmp_path, served, "script 0\n", f"echo x > x; rm src/a.txt; git add -A; {damage}")

    assert (end.status, end.reason) == ("failed", "PushFailed")
    assert {"result.bundle", "result.patch"} <= {one.path for one in end.artifacts}
    git(served, "fetch", "-q", str(kept / "result.bundle"), "HEAD:refs/heads/out")
    assert git(served, "diff", "--name-status", "main", "out").split() == ["D", "src/a.txt", "A", "x"]


def test_files_are_kept_where_their_commits_can_not_be(tmp_path: Path, served: Path) -> None:
    """The script merged a branch of which a partial clone has not every file."""
    git(served, "config", "uploadpack.allowFilter", "true")
    git(served, "config", "uploadpack.allowAnySHA1InWant", "true")
    work = served.with_name("a.git.work")
    git(work, "checkout", "-qb", "theirs")
    for content in ("1", "2"):
        add_commit(work, {"other/d.txt": content, "sub/theirs.txt": content}, content)
    git(work, "push", "-q", "origin", "theirs")
    merge = "git fetch -q origin theirs; git merge -q --allow-unrelated-histories --no-edit FETCH_HEAD"

    end, kept = ended(tmp_path, served, "script 1\n", f"{merge}; echo mine > sub/mine.txt", paths=("sub",))

    assert "result.bundle" in {one.path for one in end.artifacts}
    git(served, "fetch", "-q", str(kept / "result.bundle"), "HEAD:refs/heads/out")
    assert git(served, "diff", "--name-only", "main", "out").split() == ["sub/mine.txt", "sub/theirs.txt"]


def test_work_is_kept_when_its_branch_exists(tmp_path: Path, served: Path) -> None:
    """The task fails with the branch's own reason."""
    git(served, "branch", "out", "main")

    end, kept = ended(tmp_path, served, "script 0\n", "echo x > x")

    assert (end.status, end.reason) == ("failed", "BranchExists")
    assert (kept / "result.bundle").exists()
