"""Texts of a hostile user for every field: none of them may run, or make a page say something untrue."""

from __future__ import annotations

from tests.support.system import RunningSystem

SCRIPT = "<script>window.stolen = 1</script><img src=x onerror='window.stolen = 1'>"
TURNED = "invoice\u202egpj.exe"  # what follows is shown from right to left
HOSTILE_PAGES = (
    "/tasks/{task}", "/tasks/{task}/files/x.html", "/tasks/{task}/files/x.svg", "/tasks/{task}/files/a.patch",
    "/documents/hostile", "/documents/hostile/versions", "/repositories/hostile",
    "/repositories/hostile/activity", "/tasks/{task}/compare",
)  # fmt: skip
LOG = r"""
printf '<script>window.stolen = 1</script>\n'
printf '\033]0;owned\007title\n'
printf '\033]8;;javascript:window.stolen=1\033\\link\033]8;;\033\\ \n'
printf 'hidden\033[2K\rshown\n'
printf '\033[2J\033[H\033[1;1Hcursor\n'
printf '\033[31;1;4mred \033[38;5;200mpink \033[48;2;1;2;3mtrue\033[0m plain\n'
printf '\342\200\256turned\n'
printf '"><img src=x onerror=window.stolen=1>\n'
mkdir -p "$KERUTA_ARTIFACTS/d<b>"
printf '<html><script>window.stolen = 1</script></html>' > "$KERUTA_ARTIFACTS/x.html"
printf '<svg xmlns="http://www.w3.org/2000/svg" onload="window.stolen=1">' > "$KERUTA_ARTIFACTS/x.svg"
printf '<script>window.stolen=1</script></svg>' >> "$KERUTA_ARTIFACTS/x.svg"
printf -- '--- a\n+++ b\n@@ -1 +1 @@\n-<b>old</b>\n+<script>window.stolen=1</script>\n' > "$KERUTA_ARTIFACTS/a.patch"
printf x > "$KERUTA_ARTIFACTS/d<b>/<img src=x onerror=window.stolen=1>.txt"
echo after it all
"""


def hostile_content(system: RunningSystem, repository: str) -> dict[str, str]:
    """Writes it; returns the identity of the task."""
    client = system.client
    text = (
        f"# {SCRIPT}\n\n[a](javascript:window.stolen=1) ![b](http://evil.example/x.png) <iframe src=//evil></iframe>\n"
        f"\n[c](data:text/html,{SCRIPT}) {TURNED}\n\n| a | b |\n|---|---|\n| {SCRIPT} | 1 |\n"
    )
    client.create("document", {"name": "hostile", "title": SCRIPT, "text": text, "tags": ["<b>"]})
    client.create("repository", {"name": "hostile", "url": repository, "description": SCRIPT + TURNED})
    task = system.submit(
        repository, LOG, name=f"{SCRIPT} task", labels={"team": SCRIPT}, env={"A": SCRIPT}, documents=["hostile"]
    )
    system.ended(task)
    return {"task": task}
