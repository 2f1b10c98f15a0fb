"""Everything between a raw reading and an answer, the same on the server and on a device."""
