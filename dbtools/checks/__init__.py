"""Checks of a database and of the lock: what would a reset meet, and is the race really gone?"""
