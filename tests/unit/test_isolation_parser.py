"""The isolation-spec language: what a spec is, what it means, and the errors for a file that is not a spec."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbtools.errors import ConfigurationError
from dbtools.isolation.parser import parse, read_spec
from dbtools.isolation.spec import (
    NumNotices,
    Once,
    OtherStep,
    PermutationStep,
    Session,
    Step,
    encode,
    interleavings,
)

ONE = "session s1 step a {A} step b {B} "
TWO = ONE + "session s2 step c {C} "
HINT = "A file holds setup and teardown blocks, sessions with their steps, then permutations, in this order."


def refusal(text: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        parse(text, "x", "dir/x.spec")
    what, why, hint = str(caught.value).split("\n")
    assert (what, hint) == ("dir/x.spec is not an isolation spec.", HINT)
    assert why.endswith(". Nothing was run.")
    return why.removesuffix(". Nothing was run.")


def test_everything_a_file_can_hold() -> None:
    spec = parse(
        "setup {one} setup {two} teardown {down}\n"
        "session s1 setup {begin} step a {A} step b {B} teardown {commit}\n"
        "session s2 step c {C}\n"
        "permutation a c(*) b permutation c(a, b notices 2) a b\n",
        "name",
    )
    a, b = Step("a", "A", 0, 2), Step("b", "B", 0, 2)
    c = Step("c", "C", 1, 3)
    assert (spec.name, spec.setups, spec.teardown) == ("name", ("one", "two"), "down")
    assert spec.sessions == (Session("s1", "begin", (a, b), "commit"), Session("s2", None, (c,), None))
    assert [[(pstep.step, pstep.blockers) for pstep in permutation] for permutation in spec.permutations] == [
        [(a, ()), (c, (Once(),)), (b, ())],
        [(c, (OtherStep(a), NumNotices(b, 2))), (a, ()), (b, ())],
    ]


@pytest.mark.parametrize(
    ("block", "sql"),
    [
        ("{}", ""),
        ("{   }", ""),
        ("{ \t\f\r select 1;\t \f\r}", "select 1;"),
        ("{\n  a\n\n}", "\n  a\n\n"),
        ("{ \n a \n }", "\n a \n"),
        ("{ { # 'not a comment' \" }", "{ # 'not a comment' \""),
    ],
)
def test_only_blanks_on_the_same_line_are_dropped_from_a_block(block: str, sql: str) -> None:
    assert parse(f"session s step a {block}").sessions[0].steps[0].sql == sql


def test_a_block_ends_at_the_first_brace() -> None:
    assert refusal("session s step a { '{1}' }") == 'Line 1: unexpected character "\'"'


def test_names() -> None:
    names = ["step", "_a$1", "Ü", "a", "A", 'with " in it', "", "a b", "sessions"]
    written = ['"step"', "_a$1", "Ü", "a", "A", '"with "" in it"', '""', '"a b"', "sessions"]
    spec = parse("session s " + " ".join(f"step {name} {{}}" for name in written))
    assert [step.name for step in spec.sessions[0].steps] == names


def test_tokens_need_no_space_between_them_and_comments_end_with_the_line() -> None:
    spec = parse("#{\nsession s#}\rstep a{x}step b{y}#\npermutation a(*)b#")
    assert [pstep.step.name for pstep in spec.permutations[0]] == ["a", "b"]


def test_what_is_not_utf8_is_kept_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / "latin.spec"
    path.write_bytes(b"session s step \xfc { select '\xdf' }")
    (step,) = read_spec(path).sessions[0].steps
    assert (encode(step.name), encode(step.sql)) == (b"\xfc", b"select '\xdf'")


def test_a_nul_byte_ends_a_block_and_a_quoted_name() -> None:
    spec = parse('# \0\nsession "s\0t"\nstep "a\0b" { select 1 \0 more }\nstep c {\0}\npermutation "a\0x" c')
    assert spec.sessions == (Session("s", None, (Step("a", "select 1 ", 0, 3), Step("c", "", 0, 4)), None),)
    assert [pstep.step.name for pstep in spec.permutations[0]] == ["a", "c"]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_spec(tmp_path / "no.spec")
    assert str(caught.value) == (
        f"Cannot read {tmp_path}/no.spec.\nNo such file or directory. Nothing was run.\n"
        "Give the path of an isolation spec, such as specs/my-race.spec"
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "Line 1: found the end of the file where session should be"),
        ("\n\nsession s\n", "Line 4: found the end of the file where step should be"),
        ("session s", "Line 1: found the end of the file where step should be"),
        ("session step a {}", 'Line 1: found "step" where name should be'),
        ("Session s step a {}", 'Line 1: found "Session" where session should be'),
        ("session s step a", "Line 1: found the end of the file where block should be"),
        ("teardown {} setup {} session s step a {}", 'Line 1: found "setup" where session should be'),
        ("session s step a {} setup {}", 'Line 1: found "setup" where permutation should be'),
        ("session s step a {}\nteardown {}\nteardown {}", 'Line 3: found "teardown" where permutation should be'),
        (ONE + "permutation", "Line 1: found the end of the file where name should be"),
        (ONE + "permutation a session s2 step c {}", 'Line 1: found "session" where permutation should be'),
        (ONE + "permutation a(", "Line 1: found the end of the file where name should be"),
        (ONE + "permutation a()", 'Line 1: found ")" where name should be'),
        (ONE + "permutation a(*", 'Line 1: found the end of the file where ")" should be'),
        (TWO + "permutation a c(a notices)", 'Line 1: found ")" where number should be'),
        (TWO + "permutation a c(a notices a)", 'Line 1: found "a" where number should be'),
        (ONE + "permutation a 1", 'Line 1: found "1" where permutation should be'),
        ("session s\nstep a { select\n1", 'Line 2: a block begins that no "}" ends'),
        ('session "s\n" step a {}', "Line 1: a quoted name does not end on its line"),
        ('session "s', "Line 1: a quoted name does not end on its line"),
        ("session s\nstep a {};", 'Line 2: unexpected character ";"'),
        ("session s\nstep a\0 {}", "Line 2: a NUL byte stands outside of blocks, quoted names and comments"),
        ('session s step "a\0b" {}\nstep "a\0c" {}', 'Line 2: a second step is named "a"'),
        ("session s step a {}\nstep b {}\nstep a {}", 'Line 3: a second step is named "a"'),
        ("session s step a {}\nsession t\nstep a {}", 'Line 3: a second step is named "a"'),
        (ONE + "permutation a\nB", 'Line 2: the permutation names a step "B", which does not exist'),
        (TWO + "permutation a(c) b", 'Line 1: "a" cannot wait for "c", which is not in its permutation'),
        (TWO + "permutation a(x) c", 'Line 1: "a" cannot wait for "x", which is not in its permutation'),
        (TWO + "permutation a b(a) c", 'Line 1: "b" cannot wait for "a", a step of its own session'),
        (TWO + "permutation a(a notices 1) c", 'Line 1: "a" cannot wait for "a", a step of its own session'),
    ],
)
def test_what_is_not_a_spec(text: str, why: str) -> None:
    assert refusal(text) == why


def test_two_sessions_may_have_one_name_and_a_blocker_may_be_a_later_step() -> None:
    spec = parse("session s step a {} session s step b {} permutation a(b) b")
    assert spec.permutations[0][0].blockers == (OtherStep(spec.sessions[1].steps[0]),)


def test_unused_steps_are_sorted_by_their_bytes_and_count_only_where_permutations_are_listed() -> None:
    sessions = "session s step b {} step é {} step a {} step Z {} session t step c {} "
    assert parse(sessions + "permutation c").unused_steps() == ["Z", "a", "b", "é"]
    assert parse(sessions).unused_steps() == []


def test_listed_permutations_are_run_as_listed() -> None:
    spec = parse(TWO + "permutation c b a permutation a a")
    assert ["".join(pstep.step.name for pstep in permutation) for permutation in spec.permutations_to_run()] == [
        "cba",
        "aa",
    ]


def test_without_any_all_interleavings_are_run_the_first_session_first() -> None:
    spec = parse(TWO)
    names = ["".join(pstep.step.name for pstep in permutation) for permutation in spec.permutations_to_run()]
    assert names == ["abc", "acb", "cab"]


@given(st.lists(st.integers(1, 3), min_size=1, max_size=3))
def test_interleavings_are_all_merges_once_each_in_the_order_of_depth_first_choice(sizes: list[int]) -> None:
    piles = tuple(
        tuple(PermutationStep(Step(f"{session}.{number}", "", session, 1)) for number in range(size))
        for session, size in enumerate(sizes)
    )
    found = [tuple(pstep.step.session for pstep in merge) for merge in interleavings(piles)]
    assert len(set(found)) == len(found) == math.factorial(sum(sizes)) // math.prod(map(math.factorial, sizes))
    assert found == sorted(found)
    assert all(Counter(sessions) == dict(enumerate(sizes)) for sessions in found)
    for merge in interleavings(piles):
        for session, pile in enumerate(piles):
            assert tuple(pstep for pstep in merge if pstep.step.session == session) == pile


name = st.text(st.characters(exclude_characters="\n\0", exclude_categories=()), max_size=6)
block = st.text(st.characters(exclude_characters="}\0", exclude_categories=()), max_size=10).map(
    lambda text: text.strip(" \t\r\f")
)


@given(st.lists(st.tuples(name, block), min_size=1, max_size=4, unique_by=lambda step: step[0]), st.data())
def test_what_is_written_is_read(steps: list[tuple[str, str]], data: st.DataObject) -> None:
    """Any name in quotes and any block without a brace."""

    def quoted(text: str) -> str:
        return '"' + text.replace('"', '""') + '"'

    order = data.draw(st.lists(st.sampled_from(steps), min_size=1, max_size=6))
    text = "session s " + " ".join(f"step {quoted(name)} {{ {sql} }}" for name, sql in steps)
    spec = parse(text + " permutation " + " ".join(quoted(name) for name, _ in order))
    assert [(step.name, step.sql) for step in spec.sessions[0].steps] == steps
    assert [(pstep.step.name, pstep.step.sql) for pstep in spec.permutations[0]] == order
