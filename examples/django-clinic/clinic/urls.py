"""Addresses of the project."""

from django.urls import path
from visits.views import pets

urlpatterns = [path("pets/", pets)]
