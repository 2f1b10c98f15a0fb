"""Migrations of what devices sent."""
