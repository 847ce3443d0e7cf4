"""Everything on one machine: `minipacs up`, its supervised processes and the demonstration."""
