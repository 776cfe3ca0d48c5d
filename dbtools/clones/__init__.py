"""Private copies of a project's content: for each test by a keeper that makes them ahead, and for people."""
