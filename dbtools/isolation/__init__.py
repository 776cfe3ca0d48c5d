"""PostgreSQL's isolation specs: parse them, run them, and print what its isolation tester prints."""
