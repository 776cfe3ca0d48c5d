"""Species, pets and visits."""

from django.contrib.auth.models import User
from django.db import models


class Species(models.Model):
    """A species of animals; a migration inserts those that the clinic treats."""

    name = models.CharField(max_length=40, unique=True)

    class Meta:
        """Options of the model."""

        verbose_name_plural = "species"


class Pet(models.Model):
    """A pet of a species."""

    name = models.CharField(max_length=40)
    species = models.ForeignKey(Species, models.PROTECT)


class Visit(models.Model):
    """A visit of a pet to a vet."""

    pet = models.ForeignKey(Pet, models.CASCADE)
    vet = models.ForeignKey(User, models.PROTECT)
    at = models.DateTimeField()
    reason = models.TextField(blank=True)
