"""Tokens: what they look like, what comes back, and that no slip of the hand goes unnoticed."""

import re
import string
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dbtools.errors import ConfigurationError
from dbtools.races import token as module
from dbtools.races.token import Token, decode, encode

SMALL = "pgr1-lost-update-4be07c-A2.B.A-9b54"
LETTERS = string.ascii_letters + string.digits + "._-*/ \n\x00é\u2013"

names = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,20}[A-Za-z0-9])?", fullmatch=True)
fingerprints = st.text("0123456789abcdef", min_size=6, max_size=6)
runs = st.lists(
    st.tuples(st.sampled_from(string.ascii_uppercase), st.none() | st.integers(1, 999_999)), min_size=1, max_size=40
)


def changed(token: str) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        decode(token)
    assert caught.value.exit_code == 2
    return caught.value


def test_the_form() -> None:
    assert encode("lost-update", "4be07c", [("A", 2), ("B", None), ("A", None)]) == SMALL
    assert decode(SMALL) == Token("lost-update", "4be07c", (("A", 2), ("B", None), ("A", None)))
    assert decode(f"  {SMALL}\n") == decode(SMALL)
    assert str(decode(SMALL)) == SMALL
    assert SMALL in str(module.__doc__)


@given(names, fingerprints, runs)
@example("4be07c-A2.B", "000000", [("A", 1)])
@example("a-A.B-0000-4be07c-A-1111", "4be07c", [("Z", None)])
def test_what_is_encoded_comes_back(scenario: str, fingerprint: str, schedule: list[tuple[str, int | None]]) -> None:
    token = encode(scenario, fingerprint, schedule)
    assert decode(token) == Token(scenario, fingerprint, tuple(schedule))
    assert re.fullmatch(r"[A-Za-z0-9._-]+", token)
    assert quote(token) == token


def slips(token: str) -> set[str]:
    """Return every token with one character changed, or two neighbours swapped."""
    near = {token[:i] + letter + token[i + 1 :] for i in range(len(token)) for letter in LETTERS}
    near |= {token[:i] + token[i + 1] + token[i] + token[i + 2 :] for i in range(len(token) - 1)}
    return {slip for slip in near if slip.strip() != token}


@given(names, fingerprints, runs, st.data())
def test_no_slip_of_the_hand_passes(
    scenario: str, fingerprint: str, schedule: list[tuple[str, int | None]], data: st.DataObject
) -> None:
    token = encode(scenario, fingerprint, schedule)
    changed(data.draw(st.sampled_from(sorted(slips(token)))))


def test_no_slip_in_a_small_token_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LONG", 0)  # without looking for what was meant, which takes longer
    wrong = slips(SMALL)
    assert len(wrong) > 2000
    for slip in wrong:
        changed(slip)


def test_the_checksum_stands_for_every_pair_of_neighbours() -> None:
    # What the guarantee rests on, without the grammar: all pairs of allowed characters, at any distance from the end.
    letters = string.ascii_letters + string.digits + "._-"
    for tail in range(40):
        sums = {a + b: module._checksum(f"pgr1-{a}{b}{'x' * tail}") for a in letters for b in letters}
        assert len(set(sums.values())) == len(sums)


def test_600_steps_in_40_runs_are_a_valid_file_name() -> None:
    schedule = [("AB"[i % 2], 15) for i in range(40)]
    token = encode("reset-vs-seed", "4be07c", schedule)
    assert len(token) == 190
    assert decode(token).runs == tuple(schedule)


@pytest.mark.parametrize("shell", ["sh", "bash", "zsh"])
def test_shells_pass_it_as_it_stands(shell: str, tmp_path: Path) -> None:
    (tmp_path / SMALL.replace("A2", "A3")).touch()
    try:
        done = subprocess.run([shell, "-c", f"echo {SMALL}"], cwd=tmp_path, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip(f"no {shell} here")
    assert done.stdout == f"{SMALL}\n"


def test_a_name_that_does_not_fit_is_said() -> None:
    with pytest.raises(ConfigurationError) as caught:
        encode("my race", "4be07c", [("A", None)])
    assert str(caught.value) == (
        "The scenario's name 'my race' does not fit into a token.\n"
        "A name is of ASCII letters, digits and . _ - and begins and ends with a letter or a digit.\n"
        "Rename the scenario's file."
    )


@pytest.mark.parametrize(
    ("fingerprint", "schedule"),
    [
        ("4be07", [("A", 1)]),
        ("4BE07C", [("A", 1)]),
        ("4be07c", []),
        ("4be07c", [("A", 0)]),
        ("4be07c", [("a", 1)]),
        ("4be07c", [("A", 1_000_000)]),
    ],
)
def test_what_no_caller_may_encode(fingerprint: str, schedule: list[tuple[str, int | None]]) -> None:
    with pytest.raises(ValueError, match=r"^a (run|fingerprint) is "):
        encode("x", fingerprint, schedule)


FORM = (
    "A token reads pgr1-SCENARIO-FINGERPRINT-RUNS-CHECK, such as pgr1-lost-update-4be07c-A2.B.A-9b54. "
    "Nothing was run.\nCopy the whole token again from where it was reported."
)


def test_something_else_is_no_token() -> None:
    assert str(changed("lost-update")) == f"'lost-update' is not a race token.\n{FORM}"
    assert str(changed("")) == f"'' is not a race token.\n{FORM}"
    assert str(changed("\x1b[31m\u202e" + "x" * 1000)) == (
        f"'\\x1b[31m\\u202e{'x' * 94}...' is not a race token.\n{FORM}"
    )
    assert str(changed("pgr1-lost-update")) == f"'pgr1-lost-update' is not a whole race token.\n{FORM}"


def test_a_later_version_is_not_guessed_at() -> None:
    assert str(changed("pgr2-lost-update-4be07c-A2.B.A-9b54")) == (
        "'pgr2-lost-update-4be07c-A2.B.A-9b54' cannot be replayed here.\n"
        "It is of version 2; this dbtools reads version 1 only. Nothing was run.\n"
        "Replay it with the dbtools that made it, or explore again."
    )


@pytest.mark.parametrize(
    ("token", "why", "hint"),
    [
        ("pgr1-lost-update-4be07c-A3.B.A-9b54", "Its checksum does not fit.", "The runs are"),
        ("pgr1-lost-udpate-4be07c-A2.B.A-9b54", "Its checksum does not fit.", "The scenario's name is"),
        ("pgr1-lost-update-4be07c-A2.B.A-9b45", "Its checksum does not fit.", "The checksum is"),
        (
            "pgr1-lost-update-4be07c-A2.B.A-9b5o",
            "The checksum '9b5o' is not four digits of 0-9 and a-f.",
            "The checksum is",
        ),
        (
            "pgr1-lost-update-4bE07c-A2.B.A-9b54",
            "The fingerprint '4bE07c' is not six digits of 0-9 and a-f.",
            "The fingerprint is",
        ),
        (
            "pgr1-lost-update-4be07c-A2.b.A-9b54",
            "The run 'b' is not a capital letter with a number of steps or without one.",
            "The runs are",
        ),
        ("pgr1-lost/update-4be07c-A2.B.A-9b54", "The scenario's name 'lost/update' is none.", "The scenario's name is"),
    ],
)
def test_the_damaged_part_is_named(token: str, why: str, hint: str) -> None:
    assert str(changed(token)) == (
        f"'{token}' was changed since it was made.\n"
        f"{why} Nothing was run.\n"
        f"{hint} one slip away from {SMALL}. Copy the whole token again from where it was reported."
    )


def test_where_no_token_is_near_none_is_named() -> None:
    assert str(changed("pgr1-lost-update-4be07c-A7.C.A-9b54")) == (
        "'pgr1-lost-update-4be07c-A7.C.A-9b54' was changed since it was made.\n"
        "Its checksum does not fit. Nothing was run.\n"
        "Copy the whole token again from where it was reported."
    )


@given(st.text(max_size=200))
def test_nothing_but_the_one_error_is_raised(text: str) -> None:
    for token in (text, f"pgr1-{text}", f"pgr1-x-4be07c-{text}-0000"):
        try:
            assert str(decode(token)) == token.strip()
        except ConfigurationError:
            continue
