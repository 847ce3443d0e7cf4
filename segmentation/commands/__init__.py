"""The commands `minipacs segment`, `engines` and `prompts`."""
