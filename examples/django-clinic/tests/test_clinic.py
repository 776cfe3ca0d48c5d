"""The clinic on a seeded database. What a test writes is rolled back."""

import pytest
from django.contrib.auth import authenticate
from django.test import Client
from visits.models import Pet, Species

pytestmark = pytest.mark.django_db


def test_the_pets_are_listed_with_their_visits(client: Client) -> None:
    listed = client.get("/pets/").json()["pets"]
    assert {"name": "Rex", "species__name": "dog", "visits": 2} in listed


def test_the_vet_can_log_in() -> None:
    assert authenticate(username="vera", password="vera's password")


def test_a_new_pet_gets_a_number_of_its_own() -> None:
    before = Pet.objects.count()
    Pet.objects.create(name="Tom", species=Species.objects.get(name="cat"))
    assert Pet.objects.count() == before + 1
