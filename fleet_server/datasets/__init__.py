"""Files of people become immutable snapshots that can be learnt from."""
