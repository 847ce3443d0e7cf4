"""Back up everything this installation holds, and restore it."""
