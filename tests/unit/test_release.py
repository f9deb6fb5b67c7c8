"""What a release pins."""

from __future__ import annotations

import io
import re
import sys
import tarfile
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "knative"))
import release

DIGESTS = {"functions": "sha256:" + "a" * 64, "agent": "sha256:" + "b" * 64}
OVERLAYS = ["kind", "prod"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_manifests_of_a_release_name_every_image_of_keruta_by_its_digest(overlay: str) -> None:
    packed = release.manifests("registry.example.com/team/", "1.2.3", DIGESTS, 1_700_000_000)
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        member = tar.extractfile(f"keruta-manifests-1.2.3/knative/overlays/{overlay}/kustomization.yaml")
        assert member is not None
        entries = re.findall(r"\{name: (keruta-[^}]*)\}", member.read().decode())
    assert sorted(entries) == [
        f"keruta-agent, newName: registry.example.com/team/keruta-agent, digest: {DIGESTS['agent']}",
        f"keruta-functions, newName: registry.example.com/team/keruta-functions, digest: {DIGESTS['functions']}",
        f"keruta-replica-set, newName: registry.example.com/team/keruta-functions, digest: {DIGESTS['functions']}",
    ]


def test_manifests_name_the_images_of_the_coding_agents_that_were_built() -> None:
    """By digest where it was pushed, else by tag."""
    settings = (Path(release.ROOT) / "knative" / "base" / "settings" / "keruta.env").read_text()

    made = release.with_coding_agents(settings, "r.test/", "1.2.3", {"codex": "sha256:12"}, ["codex", "aider"])

    images = "codex=r.test/keruta-codex@sha256:12,aider=r.test/keruta-aider:1.2.3"
    assert f"\nKERUTA_CODING_AGENT_IMAGES={images}\n" in made


def test_the_same_input_gives_the_same_manifests() -> None:
    assert release.manifests("", "1", DIGESTS, 1) == release.manifests("", "1", DIGESTS, 1)


def test_an_image_that_was_not_pushed_is_named_by_its_tag() -> None:
    said = release.pinned('images:\n  - {name: keruta-agent, newTag: "0.1.0"}\n', "a/", "1.2.3", {})
    assert said == 'images:\n  - {name: keruta-agent, newName: a/keruta-agent, newTag: "1.2.3"}\n'


def test_an_image_of_keruta_that_no_release_makes_is_an_error() -> None:
    with pytest.raises(KeyError):
        release.pinned("- {name: keruta-other, newTag: a}", "", "1", DIGESTS)


@pytest.mark.parametrize(
    ("changelog", "changes", "lacks"),
    [
        ("## [1.2.3] - 2026-01-02\n", "", 0),
        ("## [Unreleased]\n", "", 1),
        ("## [1.2.30] - 2026-01-02\n", "", 1),
        ("## [1.2.3] - 2026-01-02\n", " M a.py\n", 1),
        ("", "?? a.py\n", 2),
    ],
)
def test_a_release_needs_its_changes_on_record(changelog: str, changes: str, lacks: int) -> None:
    assert len(release.missing("1.2.3", changelog, changes)) == lacks
