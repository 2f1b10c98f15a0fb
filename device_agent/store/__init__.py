"""What a device keeps: the spool of records, the slots of models, the state of its updates."""
