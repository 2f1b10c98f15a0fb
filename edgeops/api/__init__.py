"""The REST interface as values: each resource once, and a client that returns them."""
