"""Who may do what: accounts, roles, login, sessions and the audit log."""
