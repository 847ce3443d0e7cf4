"""Jobs, engines, rules and prompts."""
