"""What `edgeops demo` can show; one module each."""
