"""EdgeOps keeps machine-learning models on a fleet of small devices right, and proves it.

`edgeops` decides (pure functions, transition tables, values); `device_agent` and `fleet_server` do.
"""

__version__ = "0.1.0.dev0"
