"""Where answers go; each sink is a module of its own and is named by the agent's wiring."""
