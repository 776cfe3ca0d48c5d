"""The keywords of the marker `dbtools` and of `database_factory`: which content a test's database has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dbtools.clones.wanted import Wanted

if TYPE_CHECKING:
    from collections.abc import Mapping


def read_keywords(config: pytest.Config, keywords: Mapping[str, Any]) -> Wanted:
    """Return the content that keywords ask for; fail the test where they cannot be meant."""
    known = ("profile", "as_of", "seed", "schema_only", "snapshot")
    for name in keywords:
        if name not in known:
            pytest.fail(f"The marker dbtools knows no {name!r}. It knows: {', '.join(known)}.", pytrace=False)
    schema_only, snapshot = bool(keywords.get("schema_only")), str(keywords.get("snapshot", ""))
    if snapshot and len([name for name, value in keywords.items() if value]) > 1:
        pytest.fail("snapshot is the whole content: nothing else can be said beside it.", pytrace=False)
    profile, as_of, seed = (str(keywords.get(name, "")) for name in ("profile", "as_of", "seed"))
    return Wanted(
        schema_only=schema_only,
        snapshot=str(config.rootpath / snapshot) if snapshot else "",
        profile=profile,
        as_of=as_of,
        seed=seed,
    )
