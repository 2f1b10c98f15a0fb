"""The link between server and devices: takes in what devices say, sends what they shall know.

A process of its own, away from HTTP: paho watches its socket with select(), which fails silently for
file descriptors beyond 1023.
"""

from fleet_server.link.run import run_link

__all__ = ["run_link"]
