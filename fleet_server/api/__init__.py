"""The REST interface: one module per noun, each a router; what they share is beside them."""
