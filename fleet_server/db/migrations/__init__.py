"""Schema changes in order: one folder per chain, run by `fleet_server.db.migrate`."""
