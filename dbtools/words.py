"""Words of messages that depend on a number."""


def number_of(count: int, noun: str, nouns: str = "", *, grouped: bool = False) -> str:
    """Return a number of things in words: "1 row", "2 rows"; `nouns` is a plural that "s" alone does not make.

    With `grouped`, commas set thousands apart: "12,000 rows".
    """
    return f"{count:{',' if grouped else ''}} {noun if count == 1 else nouns or noun + 's'}"
