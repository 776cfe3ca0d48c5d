"""The keywords of the marker `dbtools`."""

from __future__ import annotations

from typing import Any

import pytest

from dbtools.clones.keywords import read_keywords
from dbtools.clones.wanted import Wanted

ALONE = "snapshot is the whole content: nothing else can be said beside it."


def test_keywords_are_the_content(pytestconfig: pytest.Config) -> None:
    def read(**keywords: Any) -> Wanted:
        return read_keywords(pytestconfig, keywords)

    assert read() == Wanted()
    assert read(profile="uat", as_of="2026-11-23", seed=3) == Wanted(profile="uat", as_of="2026-11-23", seed="3")
    assert read(schema_only=True) == Wanted(schema_only=True)
    file = str(pytestconfig.rootpath / "a.dbsnap")
    assert (
        read(snapshot="a.dbsnap") == read(snapshot="a.dbsnap", profile="", schema_only=False) == Wanted(snapshot=file)
    )


@pytest.mark.parametrize(
    ("keywords", "why"),
    [
        (
            {"profil": "uat"},
            "The marker dbtools knows no 'profil'. It knows: profile, as_of, seed, schema_only, snapshot.",
        ),
        ({"snapshot": "a.dbsnap", "seed": 3}, ALONE),
        ({"snapshot": "a.dbsnap", "schema_only": True}, ALONE),
    ],
)
def test_what_cannot_be_meant(pytestconfig: pytest.Config, keywords: dict[str, Any], why: str) -> None:
    with pytest.raises(pytest.fail.Exception) as caught:
        read_keywords(pytestconfig, keywords)
    assert str(caught.value) == why
