"""What travels between devices and the fleet server: topics, messages, the signed envelope."""
