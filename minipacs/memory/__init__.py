"""How much memory there is, and what one object, one volume and one process may take of it."""
