"""The model-based test: random sequences of what happens to an archive, and what must be true after each rest."""
