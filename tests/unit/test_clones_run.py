"""The URLs that tests are given."""

import re

from dbtools.clones.run import Url


def test_a_url_is_shown_without_its_password() -> None:
    url = Url("postgresql+asyncpg://app:se:cret@127.0.0.1:5432/shop?application_name=a:b")
    assert repr(url) == "'postgresql+asyncpg://app:***@127.0.0.1:5432/shop?application_name=a:b'"
    assert str(url) == "postgresql+asyncpg://app:se:cret@127.0.0.1:5432/shop?application_name=a:b"
    assert repr(Url("postgresql://127.0.0.1/shop")) == "'postgresql://127.0.0.1/shop'"
    assert not re.search("secret", repr([Url("postgresql://app:secret@h/d")]))
