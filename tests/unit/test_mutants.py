"""The mutant lists name today's modules: code that moved without its mutants would no longer be tried."""

import pytest

from scripts.mutants import ROOT, Mutant, read


def test_every_mutant_can_be_applied() -> None:
    mutants, broken = read(), []
    for mutant in mutants:
        try:
            mutant.apply((ROOT / mutant.file).read_text("utf-8"))
        except (OSError, ValueError, SyntaxError) as error:
            broken.append(f"{mutant}: {error}")
    assert broken == []
    assert len(mutants) > 500


def test_one_whose_text_is_gone_is_seen() -> None:
    with pytest.raises(ValueError, match="its text is there 0 times"):
        Mutant("a", "a.py", (), "x = 1", "x = 2").apply("y = 1\n")
