"""Routes of older clients."""
