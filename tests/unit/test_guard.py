"""The guard on the environment. The marker in the database is tested on a live one."""

import pytest

from dbtools.chain.guard import check_environment
from dbtools.chain.markers import marked, names_environment, protects
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


@pytest.mark.parametrize("environ", [{}, {"NODE_ENV": "development"}, {"APP_ENV": ""}, {"ENVIRONMENT": "uat"}])
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


@pytest.mark.parametrize(
    "name",
    [
        "RAILS_ENV",
        "RACK_ENV",
        "FLASK_ENV",
        "DJANGO_ENV",
        "VERCEL_ENV",
        "MIX_ENV",
        "APP_ENVIRONMENT",
        "ENV",
        "rails_env",
        "ASPNETCORE_ENVIRONMENT",
        "DOTNET_ENVIRONMENT",
        "SPRING_PROFILES_ACTIVE",
        "SENTRY_ENVIRONMENT",
        "APP_STAGE",
    ],
)
def test_the_variables_of_other_stacks_count(name: str) -> None:
    with pytest.raises(ResetRefused, match=f"{name}=prod says so"):
        check_environment("reset", {name: "prod"})


@pytest.mark.parametrize("name", ["VIRTUAL_ENV", "CONDA_DEFAULT_ENV", "BASH_ENV", "ENVOY", "HOSTNAME", "PRODUCTION"])
def test_variables_that_name_something_else_do_not(name: str) -> None:
    assert not names_environment(name)


@pytest.mark.parametrize(
    "value",
    [
        '"production"',
        "'prod'",
        "production-eu",
        "prod1",
        "PRD",
        "Live",
        "EU_PROD",
        "ProdEU",
        "dev,prod",
        "PRODUCTION\n",
    ],
)
def test_values_are_read_generously(value: str) -> None:
    with pytest.raises(ResetRefused, match="this is a production environment"):
        check_environment("reset", {"APP_ENV": value})


@pytest.mark.parametrize("value", ["non-prod", "preprod", "nonprod", "Produktion", "production-like", "not production"])
def test_doubt_is_refused_and_called_doubt(value: str) -> None:
    with pytest.raises(ResetRefused, match="this may be a production environment"):
        check_environment("reset", {"APP_ENV": value})


@pytest.mark.parametrize("value", ["staging", '"staging"', "stage", "STG", "staging-2"])
def test_staging_is_refused_by_its_name(value: str) -> None:
    with pytest.raises(ResetRefused, match="this is a staging environment"):
        check_environment("reset", {"APP_ENV": value})


@pytest.mark.parametrize(
    "value",
    [
        "uat",
        "demo",
        "test",
        "qa",
        "development",
        "preview",
        "local",
        "product",
        "products-dev",
        "reproduce",
        "delivery",
        "/srv/prod/env.sh",
        "~/prod",
        '"./prod"',
    ],
)
def test_what_a_seed_is_for_is_not(value: str) -> None:
    check_environment("reset", {"APP_ENV": value})


def test_of_djangos_settings_the_last_part_counts() -> None:
    for value in ("shop.settings.production", "shop.settings.prod", "shop.settings_prod"):
        with pytest.raises(ResetRefused):
            check_environment("reset", {"DJANGO_SETTINGS_MODULE": value})
    for value in ("production_planner.settings.dev", "shop.settings"):
        check_environment("reset", {"DJANGO_SETTINGS_MODULE": value})


def test_a_comment_that_denies_it_protects_nothing() -> None:
    for comment in ("protected: no", "protected = false", "is_protected=0", 'protected="off"', "unprotected"):
        assert not protects(comment)
    for comment in ("protected: no, environment: protected", "Do  not drop", "DON'T", "never reset this"):
        assert protects(comment)
    assert marked("protected") == ""
