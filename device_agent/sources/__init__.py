"""Where rows come from; each source is a module of its own and is named by the agent's wiring."""
