"""Run a schedule: a server, a proxy for each program, and the scheduler that decides whose statement goes on."""
