"""The audit: who did what, when, from where, to which study; complete, chained by a keyed hash, sent on if set."""
