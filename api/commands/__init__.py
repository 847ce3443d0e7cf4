"""The commands `minipacs api` and `minipacs token`."""
