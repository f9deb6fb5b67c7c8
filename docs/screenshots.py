"""Takes a picture of each page in both languages: `make screenshots`. A system of its own, with something to see.

They go into `docs/pictures/`, by page and language, and stand in the README and the tour.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from tests.support.browser import reading, running_browser
from tests.support.repositories import make_repository
from tests.support.system import RunningSystem

PICTURES = Path(__file__).with_name("pictures")
SIZE = {"width": 1280, "height": 800}
PAGES = {
    "overview": "/", "tasks": "/tasks", "task": "/tasks/{task}", "failed": "/tasks/{failed}",
    "new": "/tasks/new?like={task}", "file": "/tasks/{task}/files/report.patch",
    "repository": "/repositories/website", "documents": "/documents", "document": "/documents/house-rules",
    "versions": "/documents/house-rules/versions", "profiles": "/profiles", "profile": "/profiles/agent",
    "queues": "/queues", "queue": "/queues/night", "credentials": "/credentials", "workers": "/workers",
    "users": "/users", "audit": "/audit", "dead-letters": "/dead-letters", "webhooks": "/webhooks",
    "api-keys": "/api-keys", "settings": "/settings", "api": "/api/docs",
    "problem": "/tasks/00000000000000000000000000",
}  # fmt: skip
SCRIPT = r"""
printf '\033[1mInstalling\033[0m 42 packages\n'
for n in 1 2 3 4 5 6; do printf '\033[32m✓\033[0m suite %s passed (%s tests)\n' $n $((n * 37)); sleep 0.2; done
printf '\033[33mwarning:\033[0m 1 test was slow\n'
printf -- '--- a/index.html\n+++ b/index.html\n' > $KERUTA_ARTIFACTS/report.patch
printf '@@ -1,3 +1,3 @@\n <h1>\n-Helo\n+Hello\n </h1>\n' >> $KERUTA_ARTIFACTS/report.patch
echo tests=777 >> $KERUTA_OUTPUTS
"""


def fill(system: RunningSystem, repository: str) -> dict[str, str]:
    """Something to see; returns the identities of a task that succeeded and one that failed."""
    client = system.client
    client.create(
        "credential", {"name": "deploy-token", "type": "secret", "value": "not-shown", "description": "For the site"}
    )
    client.create(
        "repository", {"name": "website", "url": repository, "description": "The public site", "max_running": 4}
    )
    client.create(
        "queue", {"name": "night", "description": "What has time until the morning", "max_running": 2, "weight": 0.5}
    )
    client.create("profile", {"name": "agent", "description": "A coding agent", "timeout_seconds": 3600,
                              "prompt": {"command": ["agent", "--print", "{prompt}"]}})  # fmt: skip
    text = "# House rules\n\n* Small commits, each with its tests.\n* Ask when it is not clear.\n"
    client.create("document", {"name": "house-rules", "title": "House rules", "text": text, "tags": ["style"]})
    client.replace("document", {"name": "house-rules", "title": "House rules", "text": text + "* No new dependency.\n",
                                "tags": ["style"]}, revision=1)  # fmt: skip
    site = {"name": "website"}
    for n in range(6):
        system.ended(client.submit({"repository": site, "script": "true", "name": f"link check {n + 1}"}).id)
    failed = client.submit(
        {"repository": site, "script": "echo 'AssertionError: 3 != 4'; exit 1", "name": "unit tests"}
    )
    task = client.submit({"repository": site, "script": SCRIPT, "name": "nightly tests", "labels": {"team": "web"},
                          "documents": ["house-rules"]})  # fmt: skip
    client.pause("night", "until the release is out")
    client.submit({"repository": site, "script": "make report", "name": "monthly report", "queue": "night"})
    system.ended(failed.id)
    system.ended(task.id)
    client.submit({"repository": site, "script": "echo at work; sleep 300", "name": "a long one"})
    return {"task": task.id, "failed": failed.id}


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        make_repository(root / "website.git")
        with RunningSystem(root / "home", {"KERUTA_SIGN_INS_PER_MINUTE": "0"}) as system, running_browser() as browser:
            known = fill(system, (root / "website.git").as_uri())
            time.sleep(11)  # the overview counts anew
            for language in ("en", "ja"):
                with reading(browser, system, language=language, viewport=SIZE) as reader:
                    for name, path in PAGES.items():
                        page = reader.open(path.format(**known))
                        page.wait_for_timeout(700)
                        page.screenshot(path=PICTURES / f"{name}.{language}.png")
                        reader.faults.clear()
    print(f"{len(PAGES) * 2} pictures in {PICTURES}")


if __name__ == "__main__":
    main()
