"""How a model goes to many devices: two small machines, waves, and the health gate before each next wave."""
