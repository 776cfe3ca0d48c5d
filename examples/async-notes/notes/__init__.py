"""A notebook, in little: an application as many have it, that knows nothing of dbtools."""
