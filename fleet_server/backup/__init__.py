"""Backups of a running server, and servers out of backups. Offline keys are never in one."""
