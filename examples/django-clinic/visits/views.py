"""Views of the app."""

from django.db.models import Count
from django.http import HttpRequest, JsonResponse

from visits.models import Pet


def pets(_request: HttpRequest) -> JsonResponse:
    """Answer with all pets, and how often each was here."""
    counted = Pet.objects.annotate(visits=Count("visit")).order_by("name")
    return JsonResponse({"pets": list(counted.values("name", "species__name", "visits"))})
