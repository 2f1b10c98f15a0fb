"""Mergeable summaries of watched channels: reference profiles, windows, and their packed form."""
