"""Groups of studies: who is in them, who sees which study, and the database as a member may read it."""
