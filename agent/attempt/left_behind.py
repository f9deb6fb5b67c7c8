"""New commits that only HEAD's log leads to, after a `git reset --hard` or a checkout."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from agent.attempt.commits import Commits
from keruta.adapters.git.command import Git

LIMIT = 10


def left_behind(
    git: Git, commits: Commits, tips: Iterable[str], head: str, known: Sequence[str], say: Callable[[str], None]
) -> dict[str, str]:
    """Return those of these commits that nothing known leads to, by the refs that a bundle gets for them.

    A commit whose files are those of a commit of the result was squashed, or made again: it is not lost.

    Args:
        tips: commits that HEAD was on and left, the newest first.
        head: the result's commit.
        known: what is pushed or kept anyway, and the commit that was checked out.
        say: told how many each of them leads to.

    Raises:
        PhaseError: PushFailed.
    """
    led_to = set(commits.reachable(known))
    lost = [one for one in tips if one in commits and one not in led_to]
    if not lost:
        return {}
    made = set(git("log", "--format=%T", head, *_without(known, head), "--", reason="PushFailed").split())
    found: dict[str, str] = {}
    for commit in lost:
        if commit in led_to or len(found) == LIMIT:
            continue
        count = sum(one not in led_to for one in commits.reachable([commit]))
        led_to.update(commits.reachable([commit]))
        if git("rev-parse", f"{commit}^{{tree}}", reason="PushFailed").strip() in made:
            continue
        found[f"refs/other/left-{commit[:12]}"] = commit
        say(
            f"not in the result: {count} {'commit' if count == 1 else 'commits'} up to {commit[:12]}, which no branch "
            "has after a reset or checkout"
        )
    return found


def _without(known: Sequence[str], head: str) -> list[str]:
    """Return what Git is to leave out of the history of `head`."""
    return [f"^{one}" for one in known if one != head]
