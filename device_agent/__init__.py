"""The device agent: it fetches, verifies and runs models on one device, and reports what happened."""
