"""Make a database's content once, with the project's own tools, and keep it as a snapshot."""
