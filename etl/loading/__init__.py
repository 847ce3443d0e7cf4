"""From outcomes to the catalogue: what is accepted, what is counted, and what leaves it again."""
