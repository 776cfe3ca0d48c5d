"""Tokens: what they look like, what comes back, and that no slip of the hand goes unnoticed."""

import re
import string
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbtools.errors import ConfigurationError
from dbtools.races import token as module
from dbtools.races.token import Token, decode, encode, shorten

SMALL = "pgr1-3f9a4be07c12-A2.B.A-ace8"
LETTERS = string.ascii_letters + string.digits + "._-*/ \n\x00é\u2013"

parts = st.text("0123456789abcdef", min_size=4, max_size=4)
runs = st.lists(
    st.tuples(st.sampled_from(string.ascii_uppercase), st.none() | st.integers(1, 999_999)), min_size=1, max_size=40
)


def changed(token: str) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        decode(token)
    assert caught.value.exit_code == 2
    return caught.value


def test_the_form() -> None:
    assert encode("3f9a", "4be0", [("A", 2), ("B", None), ("A", None)], "7c12") == SMALL
    assert decode(SMALL) == Token("3f9a", "4be0", (("A", 2), ("B", None), ("A", None)), "7c12")
    assert decode(f"  {SMALL}\n") == decode(SMALL)
    assert str(decode(SMALL)) == SMALL
    assert SMALL in str(module.__doc__)
    assert shorten("lost-update") == "4e14"


@given(parts, parts, st.just("") | parts, runs)
def test_what_is_encoded_comes_back(
    scenario: str, state: str, statements: str, schedule: list[tuple[str, int | None]]
) -> None:
    token = encode(scenario, state, schedule, statements)
    assert decode(token) == Token(scenario, state, tuple(schedule), statements)
    assert re.fullmatch(r"[A-Za-z0-9.-]+", token)
    assert quote(token) == token


def slips(token: str) -> set[str]:
    """Return every token with one character changed, or two neighbours swapped."""
    near = {token[:i] + letter + token[i + 1 :] for i in range(len(token)) for letter in LETTERS}
    near |= {token[:i] + token[i + 1] + token[i] + token[i + 2 :] for i in range(len(token) - 1)}
    return {slip for slip in near if slip.strip() != token}


@given(parts, parts, st.just("") | parts, runs, st.data())
def test_no_slip_of_the_hand_passes(
    scenario: str, state: str, statements: str, schedule: list[tuple[str, int | None]], data: st.DataObject
) -> None:
    token = encode(scenario, state, schedule, statements)
    changed(data.draw(st.sampled_from(sorted(slips(token)))))


def test_no_slip_in_a_small_token_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LONG_TOKEN", 0)  # without looking for what was meant, which takes longer
    wrong = slips(SMALL)
    assert len(wrong) > 2000
    for slip in wrong:
        changed(slip)


def test_the_checksum_stands_for_every_pair_of_neighbours() -> None:
    # What the guarantee rests on, without the grammar: all pairs of allowed characters, at any distance from the end.
    letters = string.ascii_letters + string.digits + "._-"
    for tail in range(40):
        sums = {a + b: module._checksum(f"pgr1-{a}{b}{'x' * tail}") for a in letters for b in letters}  # noqa: SLF001
        assert len(set(sums.values())) == len(sums)


def test_a_race_of_two_switches_fits_into_30_characters_and_40_runs_into_a_file_name() -> None:
    assert len(SMALL) == 29
    schedule = [("AB"[i % 2], 15) for i in range(40)]
    token = encode("3f9a", "4be0", schedule, "7c12")
    assert len(token) == 182
    assert decode(token).runs == tuple(schedule)


@pytest.mark.parametrize("shell", ["sh", "bash", "zsh"])
def test_shells_pass_it_as_it_stands(shell: str, tmp_path: Path) -> None:
    (tmp_path / SMALL.replace("A2", "A3")).touch()
    try:
        done = subprocess.run([shell, "-c", f"echo {SMALL}"], cwd=tmp_path, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip(f"no {shell} here")
    assert done.stdout == f"{SMALL}\n"


@pytest.mark.parametrize(
    ("parts", "schedule"),
    [
        (("4be", "4be0", ""), [("A", 1)]),
        (("4be04", "be0", ""), [("A", 1)]),
        (("4be0", "4BE0", ""), [("A", 1)]),
        (("4be0", "4be0", "7"), [("A", 1)]),
        (("4be0", "4be04be0", ""), [("A", 1)]),
        (("4be0", "4be0", ""), []),
        (("4be0", "4be0", ""), [("A", 0)]),
        (("4be0", "4be0", ""), [("a", 1)]),
        (("4be0", "4be0", ""), [("A", 1_000_000)]),
    ],
)
def test_what_no_caller_may_encode(parts: tuple[str, str, str], schedule: list[tuple[str, int | None]]) -> None:
    scenario, state, statements = parts
    with pytest.raises(ValueError, match=r"^(a run is|each part is) "):
        encode(scenario, state, schedule, statements)


FORM = (
    "A token reads pgr1-SCENARIO-RUNS-CHECK, such as pgr1-3f9a4be07c12-A2.B.A-ace8. "
    "Nothing was run.\nCopy the whole token again from where it was reported."
)


def test_something_else_is_no_token() -> None:
    assert str(changed("lost-update")) == f"'lost-update' is not a race token.\n{FORM}"
    assert str(changed("")) == f"'' is not a race token.\n{FORM}"
    assert str(changed("\x1b[31m\u202e" + "x" * 1000)) == (
        f"'\\x1b[31m\\u202e{'x' * 94}...' is not a race token.\n{FORM}"
    )
    assert changed(f"{SMALL}-ace8").what == f"'{SMALL}-ace8' is not a whole race token."
    assert str(changed("pgr1-3f9a4be07c12")) == f"'pgr1-3f9a4be07c12' is not a whole race token.\n{FORM}"


def test_a_later_version_is_not_guessed_at() -> None:
    assert str(changed("pgr2-3f9a4be07c12-A2.B.A-ace8")) == (
        "'pgr2-3f9a4be07c12-A2.B.A-ace8' cannot be replayed here.\n"
        "It is of version 2; this dbtools reads version 1 only. Nothing was run.\n"
        "Replay it with the dbtools that made it, or explore again."
    )


@pytest.mark.parametrize(
    ("token", "why", "hint"),
    [
        ("pgr1-3f9a4be07c12-A3.B.A-ace8", "Its checksum does not fit.", "The runs are"),
        ("pgr1-3f9a4eb07c12-A2.B.A-ace8", "Its checksum does not fit.", "The scenario is"),
        ("pgr1-3f9a4be07c12-A2.B.A-ac8e", "Its checksum does not fit.", "The checksum is"),
        ("pgr1-3f9a4be07c12-A2.B.A-aco8", "The checksum 'aco8' is not four digits of 0-9 and a-f.", "The checksum is"),
        (
            "pgr1-3f9a4bE07c12-A2.B.A-ace8",
            "The scenario '3f9a4bE07c12' is not eight or twelve digits of 0-9 and a-f.",
            "The scenario is",
        ),
        (
            "pgr1-3f9a4be07c12-A2.b.A-ace8",
            "The run 'b' is not a capital letter with a number of steps or without one.",
            "The runs are",
        ),
    ],
)
def test_the_damaged_part_is_named(token: str, why: str, hint: str) -> None:
    assert str(changed(token)) == (
        f"'{token}' was changed since it was made.\n"
        f"{why} Nothing was run.\n"
        f"{hint} one slip away from {SMALL}. Copy the whole token again from where it was reported."
    )


def test_where_no_token_is_near_none_is_named() -> None:
    assert str(changed("pgr1-3f9a4be07c12-A7.C.A-ace8")) == (
        "'pgr1-3f9a4be07c12-A7.C.A-ace8' was changed since it was made.\n"
        "Its checksum does not fit. Nothing was run.\n"
        "Copy the whole token again from where it was reported."
    )


def test_where_two_tokens_are_as_near_none_is_named() -> None:
    steps = [("A", None), ("B", None)] * 4 + [("A", None), ("B", 2)]
    one = encode("3f9a", "4be0", [*steps, ("A", None)], "7c12")
    two = encode("3f9a", "4be0", [("O", None), *steps[1:], ("R", None)], "7c12")
    assert one[-4:] == two[-4:]
    damaged = f"{one[:-6]}R{one[-5:]}"
    assert sum(a != b for a, b in zip(damaged, one, strict=True)) == 1
    assert sum(a != b for a, b in zip(damaged, two, strict=True)) == 1
    assert str(changed(damaged)) == (
        f"'{damaged}' was changed since it was made.\n"
        "Its checksum does not fit. Nothing was run.\n"
        "Copy the whole token again from where it was reported."
    )


@pytest.mark.parametrize(("length", "steps"), [(100, 1234), (101, 12345)])
def test_long_tokens_are_cut_and_not_corrected(length: int, steps: int) -> None:
    token = encode("3f9a", "4be0", [*[("A", 2), ("B", 3)] * 12, ("A", steps)], "7c12")
    assert len(token) == length
    wrong = token.replace("07c12", "07d12")
    said = changed(wrong)
    assert (f" one slip away from {token}. " in said.hint) is (length == 100)
    assert said.what == f"'{wrong[:100]}{'...' if length > 100 else ''}' was changed since it was made."


def test_a_slip_in_each_part_and_of_each_kind_is_found() -> None:
    for wrong, part in (
        ("pgr1-4f9a4be07c12-A2.B.A-ace8", "The scenario is"),
        ("pgr1-3f9a4be07c12-A2.B.C-ace8", "The runs are"),
        ("pgr1-3f9a4be07c12-A2.B.A-ace9", "The checksum is"),
        ("pgr1-3f9a4be07c21-A2.B.A-ace8", "The scenario is"),
        ("pgr1-3f9a4be07c12-2A.B.A-ace8", "The runs are"),
        ("pgr1-3f9a4be07c12-A2.B.A-cae8", "The checksum is"),
    ):
        assert changed(wrong).hint.startswith(f"{part} one slip away from {SMALL}. ")


def test_letters_of_actors_and_what_is_meant_as_a_token() -> None:
    assert [module.letter(actor) for actor in (0, 1, 25)] == ["A", "B", "Z"]
    assert [module.index(letter) for letter in "ABZ"] == [0, 1, 25]
    assert module.spell([("A", 2), ("B", None), ("A", 0)]) == "A2.B.A0"
    for text, meant in ((SMALL, True), (f" {SMALL}", True), ("pgr2-x", True), ("pgr-x", False), ("count", False),
                        ("xpgr1-", False), ("pgr1", False)):  # fmt: skip
        assert module.is_token(text) is meant


@given(st.text(max_size=200))
def test_nothing_but_the_one_error_is_raised(text: str) -> None:
    for token in (text, f"pgr1-{text}", f"pgr1-3f9a4be0-{text}-0000"):
        try:
            assert str(decode(token)) == token.strip()
        except ConfigurationError:
            continue
