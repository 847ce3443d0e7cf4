"""Scripts that run in other interpreters: each imports the standard library and its own program's packages alone."""
