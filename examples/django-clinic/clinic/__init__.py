"""A veterinary clinic, in little: a Django project."""
