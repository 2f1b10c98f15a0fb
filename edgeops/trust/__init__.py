"""What may run and who says so: TUF metadata, fleet keys, the order of desired states."""
