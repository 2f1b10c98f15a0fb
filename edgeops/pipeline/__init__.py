"""What a pipeline file (`edgeops.toml`) declares, and which of its steps are to be done."""
