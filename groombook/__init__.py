"""GroomBook, the sample application: a pet-grooming salon's models, migrations' metadata and seed data.

It is a client of dbtools; dbtools never imports it.
"""
