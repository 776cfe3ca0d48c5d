"""A notebook, in little: an application as many have it."""
