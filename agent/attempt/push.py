"""Pushes a result branch: which name and commit, by what the server has now, and what it says when it refuses."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import msgspec
import tenacity

from agent.attempt import large_files, large_results
from agent.attempt.commits import read_commits
from agent.attempt.result_repository import ResultRepository, Work, check_new
from keruta.adapters.git.command import Git, Output
from keruta.adapters.git.faults import TransientError, fault, own_lines, plain, remote_lines
from keruta.domain.messages import message
from keruta.domain.task import ResultBranch
from keruta.errors import PhaseError

# Transient failures are tried again after 1, 2, 4 … seconds, at most 30 apart, for four minutes in all.
FIRST_WAIT_SECONDS = 1.0
MOST_WAIT_SECONDS = 30.0
RETRY_SECONDS = 240.0
# The server's hooks may be at work for so long without a word: behind an HTTP server that holds answers back, nothing
# tells their silence from a stall. The rest of PUSH_SECONDS is for what comes before and after.
ANSWER_SECONDS = 240
SUFFIXES = 100
LARGE_AT_ONCE = 500
MOVES = 5  # so many times a branch may change between the look and the push
SAID_LIMIT = 600
_HEADS = "refs/heads/"
# Git's own words on the server, when it can't change a ref.
_LOCK = re.compile(
    r"failed to update ref|cannot lock ref|failed to lock|incorrect old value|reference already exists|conflict"
)
_CLASH = re.compile(
    r"exists; cannot create|blocking reference|not a directory|(directory/file|file/directory) conflict", re.IGNORECASE
)
_MOVED = re.compile(rf"reference already exists|but expected|incorrect old value|{_CLASH.pattern}", re.IGNORECASE)
# What Git says when an object that it wants to send is not there.
_NOT_HERE = re.compile(r"(fatal|error): (unable to read|missing|bad object|could not read) ", re.IGNORECASE)
# What a server says when it lacks disk or memory, not when it refuses the content.
_UNABLE = re.compile(
    r"no space left|quota exceeded|read-only file system|input/output error|cannot allocate|out of memory|"
    r"unable to (create temporary|write|migrate)|too many open files",
    re.IGNORECASE,
)
_SILENT = re.compile(r"(fatal|error): .*operation too slow", re.IGNORECASE)
_QUIET = (
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "gc.auto=0",
    "-c",
    "maintenance.auto=false",
    "-c",
    "push.gpgSign=false",
)


class Pushed(msgspec.Struct, frozen=True):
    """The branch and commit of a pushed result."""

    branch: str
    commit: str


class _Moved(Exception):  # noqa: N818  no error: what the server has is looked at again
    """The branch, or one that it can't be beside, changed between the look and the push."""

    def __init__(self, clash: PhaseError | None = None) -> None:
        super().__init__()
        self.clash = clash


class _NothingNew(Exception):  # noqa: N818  no error: the branch has the work already, or there is none
    def __init__(self, pushed: Pushed | None) -> None:
        super().__init__()
        self.pushed = pushed


class Pusher:
    """Pushes work to one server.

    Args:
        git: with what opens the server.
        say: told what the server says.
        partial: whether files outside the checkout may not be there.
        announce: told the branch and the commit before they are pushed; what it raises ends the push.
        answer_seconds: how long the server may be silent in a push itself.
    """

    def __init__(
        self, repository: ResultRepository, url: str, git: Git, *, lfs: bool = False, partial: bool = False,
        say: Callable[[str], None] = lambda _: None, announce: Callable[[str, str], None] = lambda *_: None,
        sleep: Callable[[float], None] | None = None, answer_seconds: int = ANSWER_SECONDS,
    ) -> None:  # fmt: skip
        self._repository = repository
        self._url = url
        self._git = repository.over_network(git)
        self._lfs = lfs
        self._partial = partial
        self._say = say
        self._announce = announce
        self._sleep = sleep or self._wait
        self._answer_seconds = answer_seconds
        self._moved = 0
        self._announced: Pushed | None = None

    def push(self, work: Work, target: ResultBranch, ours: Collection[tuple[str, str]] = ()) -> Pushed | None:
        """Push the work; return the branch and commit that are on the server then.

        None where nothing was made that could be added to the branch (`update`): it stays as it is.

        Args:
            ours: what earlier attempts of the same task pushed or may have pushed, as branches and commits.

        Raises:
            PhaseError: PushRefused, BranchExists or BranchRefused by the server, PushFailed for all else.
            Stopped, TimedOut.
        """
        again = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type((TransientError, _Moved)),
            wait=tenacity.wait_exponential_jitter(initial=FIRST_WAIT_SECONDS, max=MOST_WAIT_SECONDS),
            stop=self._given_up,
            before_sleep=self._tell_again,
            sleep=self._sleep,
            reraise=True,
        )
        try:
            return again(self._once, work, target, ours)
        except _NothingNew as found:
            self._say(f"nothing new for the branch {target.branch}: it stays as it is")
            return found.pushed
        except _Moved as error:
            raise error.clash or PhaseError("BranchExists", message("branch_busy", branch=target.branch)) from error

    def arrived(self, git: Git) -> Pushed | None:
        """Return what a push that was ended before it was done has put on the server; None where that is nothing.

        Args:
            git: with what opens the server, and with time of its own.

        Raises:
            PhaseError, TimedOut: the server does not say, and may have it.
        """
        pushed = self._announced
        if pushed is None:
            return None
        self._git = self._repository.over_network(git)
        return pushed if self._branches().get(_HEADS + pushed.branch) == pushed.commit else None

    def _tell_again(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        if isinstance(error, TransientError):
            self._say(f"{error.message}: trying again")

    def _given_up(self, state: tenacity.RetryCallState) -> bool:
        """Return whether time is up, or the branch was never as it was seen: so are those that a server hides."""
        seconds = min(RETRY_SECONDS, self._git.seconds_left - MOST_WAIT_SECONDS)
        return self._moved >= MOVES or (state.seconds_since_start or 0.0) >= seconds

    def _wait(self, seconds: float) -> None:
        self._git.pause(seconds)

    # ------------------------------------------------------------ one try

    def _once(self, work: Work, target: ResultBranch, ours: Collection[tuple[str, str]]) -> Pushed | None:
        there = self._branches()
        branch = target.branch.removeprefix(_HEADS)
        name, lease = self._place(work, target, branch, there, ours)
        if there.get(_HEADS + name) == work.head:
            return Pushed(name, work.head)
        known = [work.base, *there.values()]
        if work.head != work.base:
            self._complete(work)
        check_new(self._repository, work.head, sorted({one for one in known if one in work.commits}))
        if self._lfs:
            self._push_large(work)
        self._announce(name, work.head)
        self._announced = Pushed(name, work.head)
        # Where no branch of the server is at the base commit, it is asked what it has: the rest may not be here.
        negotiated = ("-c", "push.negotiate=true") if self._partial and work.base not in there.values() else ()
        patient = self._git.with_env({**self._git.env, "GIT_HTTP_LOW_SPEED_TIME": str(self._answer_seconds)})
        done = patient.run(
            *_QUIET, *negotiated, "push", "--porcelain", "--no-verify", "--no-follow-tags", "--recurse-submodules=no",
            f"--force-with-lease={_HEADS}{name}:{lease}", "--", self._url, f"{work.head}:{_HEADS}{name}",
        )  # fmt: skip
        for line in remote_lines(done.err.decode("utf-8", "replace")):
            self._say(f"remote: {line}")
        if done.exit_code != 0:
            raise self._refused(done, name, work)
        return Pushed(name, work.head)

    def _branches(self) -> dict[str, str]:
        """Return the commits of the server's branches, by the branches' full names."""
        listed = self._git.read(*_QUIET, "ls-remote", "-q", "--heads", "--", self._url, reason="PushFailed")
        rows = (row.partition("\t") for row in listed.decode("utf-8", "surrogateescape").split("\n"))
        return {name: commit for commit, tab, name in rows if tab}

    def _place(
        self,
        work: Work,
        target: ResultBranch,
        branch: str,
        there: Mapping[str, str],
        ours: Collection[tuple[str, str]],
    ) -> tuple[str, str]:
        """The branch to push to, and the commit that it must be at until then; nothing where there must be none."""
        for name, commit in ours:
            same = name == branch or (target.if_exists == "suffix" and _suffixed(name, branch))
            if same and there.get(_HEADS + name) == commit:
                return name, commit
        tip = there.get(_HEADS + branch)
        if tip is None and (clash := _clash(branch, there)) is None:
            return branch, ""
        if target.if_exists == "suffix" and not (tip is None and clash in _above(branch)):
            free = (f"{branch}-{number}" for number in range(2, SUFFIXES))
            for name in free:
                if _HEADS + name not in there and _clash(name, there) is None:
                    return name, ""
            raise PhaseError("BranchExists", message("branch_suffixes_taken", branch=branch, last=SUFFIXES - 1))
        if tip is None:
            raise PhaseError("BranchRefused", message("branch_clash", branch=branch, other=clash or ""))
        if tip == work.head or target.if_exists == "replace":
            return branch, tip
        if target.if_exists == "update":
            if self._leads_to(work, tip):
                return branch, tip
            if work.head == work.base:
                raise _NothingNew(None)
            if self._is_in(work.head, tip):
                raise _NothingNew(Pushed(branch, work.head))
            raise PhaseError("BranchExists", message("branch_not_forward", branch=branch))
        raise PhaseError("BranchExists", message("branch_exists", branch=branch))

    def _leads_to(self, work: Work, tip: str) -> bool:
        """Return whether the result's history contains a commit.

        If the workspace's history is too short, read the server's.
        """
        if tip in work.commits:
            return tip in set(work.commits.reachable([work.head]))
        ends = [one for one in work.commits.reachable([work.head]) if one in set(work.commits.shallow)]
        if not ends:
            return False
        with self._history([tip, *ends]) as git:
            return any(git.run("merge-base", "--is-ancestor", tip, end).exit_code == 0 for end in ends)

    def _is_in(self, commit: str, tip: str) -> bool:
        """Return whether the history of a branch contains a commit."""
        with self._history([tip]) as git:
            return git.run("merge-base", "--is-ancestor", commit, tip).exit_code == 0

    @contextlib.contextmanager
    def _history(self, tips: Sequence[str]) -> Iterator[Git]:
        """Give Git in a repository that has the commits of these histories, from the server."""
        scratch = self._repository.directory / "history.git"
        algorithm = "sha256" if len(tips[0]) == 64 else "sha1"
        self._repository.git("init", "-q", "--bare", "--template=", f"--object-format={algorithm}", str(scratch))
        try:
            git = self._git.with_env({**self._git.env, "GIT_DIR": str(scratch)}, scratch)
            git(*_QUIET, "fetch", "-q", "--filter=tree:0", "--no-tags", "--", self._url, *tips, reason="PushFailed")
            yield git
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _complete(self, work: Work) -> None:
        """The parents of new commits are there: those of a base commit that was amended are only on the server."""
        new = work.commits.new(work.head, [work.base])
        missing = sorted(
            {above for one in new for above in work.commits.by_id[one].parents if above not in work.commits}
        )
        of_base = work.commits.by_id[work.base].parents if work.base in work.commits else ()
        amended = [above for above in missing if above in of_base]
        if not amended:
            return
        self._repository.git("update-ref", "refs/keruta/base", work.base, reason="PushFailed")
        self._git(*_QUIET, "fetch", "-q", "--depth=1", "--no-tags", "--", self._url, *amended, reason="PushFailed")
        ends = read_commits(self._repository.git).shallow
        (self._repository.bare / "shallow").write_text("".join(f"{one}\n" for one in ends))

    def _fetch_whole(self, work: Work) -> None:
        """All files of the base commit are here: the server no longer has it, and must get them."""
        self._git(
            *_QUIET, "fetch", "-q", "--refetch", "--depth=1", "--no-tags", "--", self._url, work.base,
            reason="PushFailed",
        )  # fmt: skip

    def _push_large(self, work: Work) -> None:
        """Push the Git LFS objects before the branch, so that the branch never names missing files.

        They go where the `.lfsconfig` of the base commit says. One that the script changed decides nothing.
        """
        large = [file.name for file in large_results.all_of(self._repository.bare)]
        if work.base in work.commits:
            (self._repository.bare / "HEAD").write_text(f"{work.base}\n")
        options = (*large_files.options(self._git), *_QUIET, "-c", f"remote.origin.url={self._url}")
        for first in range(0, len(large), LARGE_AT_ONCE):
            some = large[first : first + LARGE_AT_ONCE]
            try:
                self._git(*options, "lfs", "push", "--object-id", "origin", *some, reason="PushFailed")
            except PhaseError as error:
                raise type(error)(error.reason, message("push_lfs_failed", said=error.message)) from error

    # ------------------------------------------------------------ refusals

    def _refused(self, done: Output, branch: str, work: Work) -> Exception:
        """The error for a push that failed, from the lines that are Git's own."""
        said = done.err.decode("utf-8", "replace")
        status = _status(done.out.decode("utf-8", "replace"))
        if not status:
            if self._partial and any(_NOT_HERE.match(line) for line in own_lines(said)):
                self._partial = False
                self._fetch_whole(work)
                return _Moved()
            if any(_SILENT.match(line) for line in own_lines(said)):
                told = message("push_unanswered", seconds=self._answer_seconds, branch=branch)
                return PhaseError("PushFailed", told)
            return fault(said, "PushFailed")
        self._say(f"! {status}")
        words = " ".join(line for line in remote_lines(said) if line != "error:")
        if "unpacker error" in status and _UNABLE.search(words):
            return TransientError("PushFailed", message("push_server_fault", said=_shortened(words)))
        if "stale info" in status or (_LOCK.search(status) and _MOVED.search(f"{status} {words}")):
            self._moved += 1
            return _Moved(_sentence(branch, status, words) if _CLASH.search(f"{status} {words}") else None)
        return _sentence(branch, status, words)


# Which of a server's words tell what it refuses.
_REFUSALS = (
    (r"without `?workflows?`? (permission|scope)|workflow scope", "branch_workflow"),
    (
        r"protected branch|branch is protected|GH006|GH013|TF402455|(modified|updated) (only )?through pull requests",
        "branch_protected",
    ),
    (
        r"permission denied for writing|not authorized to write|does not have write access|not allowed to push",
        "branch_no_write_right",
    ),
)
# Git's own, which a hook's words are not.
_OWN_REFUSALS = (
    (_CLASH.pattern, "branch_clash_unnamed"),
    (r"shallow update not allowed", "branch_unrelated"),
    (r"branch is currently checked out", "branch_checked_out"),
)


def _sentence(branch: str, status: str, words: str) -> PhaseError:
    both = f"{status} {words}"
    known = _REFUSALS if "hook declined" in status else (*_REFUSALS, *_OWN_REFUSALS)
    code = next((code for words_, code in known if re.search(words_, both, re.IGNORECASE)), "branch_refused")
    reason = "PushRefused" if code == "branch_no_write_right" else "BranchRefused"
    return PhaseError(reason, message(code, branch=branch, said=_shortened(words or status)))


def _shortened(words: str) -> str:
    return words if len(words) <= SAID_LIMIT else words[: SAID_LIMIT - 1] + "…"


def _status(porcelain: str) -> str:
    """The summary and reason of the line for the one ref. Source: git-push(1), OUTPUT."""
    for line in porcelain.split("\n"):
        if line.startswith("!\t"):
            return plain(line.split("\t")[-1])
    return ""


def _suffixed(name: str, branch: str) -> bool:
    return bool(re.fullmatch(re.escape(branch) + r"-\d+", name))


def _above(branch: str) -> list[str]:
    """The names that would be directories of this one's."""
    parts = branch.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts))]


def _clash(branch: str, there: Mapping[str, str]) -> str | None:
    """A branch that can't be beside this one: `a` and `a/b` are one directory and one file."""
    for name in _above(branch):
        if _HEADS + name in there:
            return name
    below = f"{_HEADS}{branch}/"
    return next((name.removeprefix(_HEADS) for name in there if name.startswith(below)), None)
