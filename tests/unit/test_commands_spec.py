"""`race.spec FILE...` and `race.merge FILE...`: which words of the command line become files."""

import pytest

from dbtools.commands.spec import insert_file_options


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("inv race.spec", "inv race.spec"),
        ("inv race.spec a.spec b.spec", "inv race.spec --file a.spec --file b.spec"),
        ("inv race.spec --file a.spec b.spec", "inv race.spec --file a.spec --file b.spec"),
        ("inv race.spec --expected out a.spec --json", "inv race.spec --expected out --file a.spec --json"),
        (
            "inv race.spec a.spec --results r --step-timeout 9",
            "inv race.spec --file a.spec --results r --step-timeout 9",
        ),
        ("inv race.spec --expected=out a.spec", "inv race.spec --expected=out --file a.spec"),
        (
            "inv race.spec --server 18 --setting a=1 a.spec",
            "inv race.spec --server 18 --setting a=1 --file a.spec",
        ),
        ("inv reset seed", "inv reset seed"),
        ("inv race.merge 1.json 2.json --json", "inv race.merge --file 1.json --file 2.json --json"),
    ],
)
def test_each_file_gets_an_option(given: str, wanted: str) -> None:
    arguments = given.split()
    insert_file_options(arguments)
    assert arguments == wanted.split()
