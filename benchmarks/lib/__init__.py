"""What the programs have in common: servers and clients, rows, work that does nothing."""
