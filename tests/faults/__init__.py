"""The fault table: every state of an update x every fault, against the real agent."""
