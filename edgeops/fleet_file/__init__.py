"""A fleet in a file: what people want of it in one YAML document, and what has to change until it is so."""
