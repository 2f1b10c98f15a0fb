"""What a device does with a desired model: the update machine and the names of its fail points."""
