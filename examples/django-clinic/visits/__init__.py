"""Pets and their visits to a vet."""
