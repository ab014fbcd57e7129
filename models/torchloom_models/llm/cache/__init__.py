"""Where keys and values lie: the memory, and who holds which part of it."""
