"""Training, conversion and judging; TensorFlow is imported here and nowhere else, in a child process."""
