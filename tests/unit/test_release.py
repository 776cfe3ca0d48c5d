"""What may be published: a commit whose tag, version and changelog agree."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from scripts import release


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A commit that is fit to be published as 1.2.0."""
    monkeypatch.setattr(release, "ROOT", tmp_path)
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## 1.2.0 (2026-11-26)\n\n- New.\n\n## 1.1.0\n", "utf-8")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "CHANGELOG.md")
    git(tmp_path, "commit", "--quiet", "--message", "Release 1.2.0")
    git(tmp_path, "tag", "v1.2.0")
    return tmp_path


def git(folder: Path, *words: str) -> None:
    """Run git as somebody."""
    who = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.org", "-c", "tag.gpgSign=false")
    subprocess.run(["git", *who, "-c", "commit.gpgSign=false", *words], cwd=folder, check=True)


def test_a_tagged_commit_with_its_heading_is_fit(repository: Path) -> None:
    assert release.unfit("1.2.0") == []


def test_a_commit_of_another_version_is_not(repository: Path) -> None:
    assert release.unfit("1.3.0") == [
        "HEAD has no tag v1.3.0 (it has: v1.2.0). Tag it: git tag v1.3.0",
        "CHANGELOG.md begins with '1.2.0 (2026-11-26)'. Put what is new below a heading with 1.3.0 and the day.",
    ]


def test_neither_is_one_with_changes_beside_it(repository: Path) -> None:
    (repository / "new.txt").write_text("", "utf-8")
    assert release.unfit("1.2.0") == ["There are changes that are not committed. Commit them, or put them away."]
