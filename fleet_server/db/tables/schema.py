"""The two collections of tables; on SQLite each is a file."""

from sqlalchemy import MetaData

control = MetaData()
telemetry = MetaData()
