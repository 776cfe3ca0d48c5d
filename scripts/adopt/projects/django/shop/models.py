"""A shop."""

from django.contrib.auth.models import User
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.search import SearchVectorField
from django.db import models


class Item(models.Model):
    """Something for sale."""

    name = models.CharField(max_length=80, unique=True)
    tags = ArrayField(models.CharField(max_length=20), default=list)
    price = models.DecimalField(max_digits=8, decimal_places=2)
    words = SearchVectorField(null=True)

    class Meta:
        indexes = [models.Index(fields=["price"], name="item_price")]


class Order(models.Model):
    """What a user wants."""

    user = models.ForeignKey(User, on_delete=models.CASCADE)
    items = models.ManyToManyField(Item)
    placed = models.DateTimeField()
