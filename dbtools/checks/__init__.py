"""Checks of a database and of the lock: what a reset would meet there, and whether the race is really gone."""
