"""What a snapshot needs around it: schemas and extensions, made where they are missing."""

from __future__ import annotations

from dataclasses import replace

import psycopg
import pytest

from dbtools.build.manifest import Extension
from dbtools.build.replay import create_surroundings
from dbtools.errors import ChainFailed
from tests.support.sessions import Connect
from tests.unit.test_snapshot import MANIFEST_OF_ALL

NEEDED = replace(
    MANIFEST_OF_ALL,
    extensions=(),
    grants={"public": "comment on schema public is 'ours'", "shop": "comment on schema shop is 'ours'"},
)
COMMENTS = """
select nspname, coalesce(obj_description(oid), '') from pg_namespace where nspname in ('public', 'shop', 'place')
order by 1
"""


def test_only_a_schema_that_had_to_be_made_gets_the_grants(connect: Connect) -> None:
    session = connect()
    for _ in range(2):
        session.execute("comment on schema public is 'theirs'")
        create_surroundings(session, NEEDED, ("public", "shop"))
        assert session.execute(COMMENTS).fetchall() == [("public", "theirs"), ("shop", "ours")]
        session.execute("comment on schema shop is 'ours'")


def test_an_extension_is_made_in_its_schema_or_has_to_be_there(connect: Connect, pg_admin: str) -> None:
    session = connect(url=pg_admin)
    available = session.execute("select name from pg_available_extensions where installed_version is null limit 1")
    if found := available.fetchone():
        needed = replace(NEEDED, extensions=(Extension(found[0], "1", "place"),))
        for _ in range(2):
            create_surroundings(session, needed, ("public",))
        made = "select n.nspname from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = %s"
        assert session.execute(made, (found[0],)).fetchone() == ("place",)
    with pytest.raises(ChainFailed) as caught:
        create_surroundings(session, replace(NEEDED, extensions=(Extension("plpgsql", "1", "public"),)), ("public",))
    assert (caught.value.what, caught.value.hint) == (
        "The extension plpgsql is in schema pg_catalog, but the steps made it in public.",
        'Have the steps create it in pg_catalog, or: alter extension "plpgsql" set schema "public";',
    )
    with pytest.raises(ChainFailed) as caught:
        create_surroundings(session, replace(NEEDED, extensions=(Extension("no_such", "1", "public"),)), ("public",))
    assert caught.value.what == "The extension no_such could not be created here."
    assert caught.value.hint == 'As a superuser of this database: create extension "no_such";'
    assert isinstance(caught.value.__cause__, psycopg.Error)
