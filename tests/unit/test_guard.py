"""The guard on the environment. The marker in the database is tested on a live one."""

import pytest

from dbtools.chain.guard import check_environment
from dbtools.errors import ResetRefused


@pytest.mark.parametrize("name", ["NODE_ENV", "APP_ENV", "ENVIRONMENT"])
@pytest.mark.parametrize("value", ["production", "PRODUCTION", " prod ", "live"])
def test_production_is_refused(name: str, value: str) -> None:
    with pytest.raises(ResetRefused) as caught:
        check_environment("reset", {name: value})
    assert str(caught.value) == (
        f"Refused to reset: this is a production environment.\n{name}={value} says so. Nothing was changed.\n"
        "If the data may really be destroyed, set ALLOW_RESET=true for this one command."
    )
    assert caught.value.exit_code == 5


@pytest.mark.parametrize("environ", [{}, {"NODE_ENV": "development"}, {"APP_ENV": ""}, {"ENVIRONMENT": "staging"}])
def test_everything_else_may_be_reset(environ: dict[str, str]) -> None:
    check_environment("reset", environ)


def test_only_allow_reset_true_overrides() -> None:
    check_environment("reset", {"NODE_ENV": "production", "ALLOW_RESET": "true"})
    for value in ("", "false", "0"):
        with pytest.raises(ResetRefused):
            check_environment("reset", {"NODE_ENV": "production", "ALLOW_RESET": value})


def test_all_markers_are_named() -> None:
    with pytest.raises(ResetRefused, match="NODE_ENV=production and APP_ENV=prod say so"):
        check_environment("seed", {"NODE_ENV": "production", "APP_ENV": "prod"})
