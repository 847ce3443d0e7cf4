"""Notifications about finished and failed work: an outbox in the database and its delivery."""
