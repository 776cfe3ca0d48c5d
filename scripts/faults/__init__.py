"""Break what can break while the chain runs, and show in figures what that did: `nox -s faults`."""
