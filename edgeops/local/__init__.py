"""One machine as a whole site: starts the server, the broker and agents as child processes, and speaks REST to them."""
