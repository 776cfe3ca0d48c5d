"""The statements that drop and move what a schema holds."""

from __future__ import annotations

from dbtools.chain.drop import drop_statements
from dbtools.db.catalog import SchemaObject, moves, summarize


def objects(kind: str, *names: str, dependent: bool = False, sequence: bool = False) -> list[SchemaObject]:
    return [SchemaObject(kind, name, "app", True, dependent, kind == "table", sequence) for name in names]


def test_each_kind_goes_at_once_or_in_batches() -> None:
    owned = [*objects("view", "v"), *objects("table", "a", "b", "c", "d", "e"), *objects("table", "p", dependent=True)]
    assert [*drop_statements(owned)] == [
        "drop view if exists v cascade",
        "drop table if exists a, b, c, d, e cascade",
    ]
    assert [*drop_statements(owned, 2)] == [
        "drop view if exists v cascade",
        "drop table if exists a, b cascade",
        "drop table if exists c, d cascade",
        "drop table if exists e cascade",
    ]
    assert [*drop_statements([])] == []


def test_what_drop_takes_one_by_one_gets_a_statement_each() -> None:
    for kind in ("operator class", "operator family", "conversion", "text search dictionary"):
        assert [*drop_statements(objects(kind, "a", "b"), 100)] == [
            f"drop {kind} if exists a cascade",
            f"drop {kind} if exists b cascade",
        ]


def test_routines_move_before_the_types_in_their_names_and_sequences_of_columns_with_their_tables() -> None:
    one = [*objects("table", "s.t"), *objects("type", "s.e"), *objects("routine", "s.f(s.e)")]
    one += objects("sequence", "s.t_id_seq", dependent=True, sequence=True)
    one += [*objects("sequence", "s.free", sequence=True), *objects("table", "s.part", dependent=True)]
    other = objects("operator", "z.+(s.e,s.e)")
    assert [*moves((one, "new"), (other, "ne w"))] == [
        'alter routine s.f(s.e) set schema "new"',
        'alter operator z.+(s.e,s.e) set schema "ne w"',
        'alter table s.t set schema "new"',
        'alter type s.e set schema "new"',
        'alter sequence s.free set schema "new"',
        'alter table s.part set schema "new"',
    ]


def test_five_names_are_shown() -> None:
    assert summarize(["a"]) == "a"
    assert summarize(["a", "b", "c", "d", "e"]) == "a, b, c, d, e"
    assert summarize(["a", "b", "c", "d", "e", "f", "g"]) == "a, b, c, d, e and 2 more"
