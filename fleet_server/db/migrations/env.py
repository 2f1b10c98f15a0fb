"""Runs the migrations of one chain inside the caller's transaction."""

from alembic import context

attributes = context.config.attributes
context.configure(
    connection=attributes["connection"],
    target_metadata=attributes["metadata"],
    version_table=attributes["version_table"],
    # SQLite rolls schema changes back when the driver does not commit behind our back; ours does not.
    transactional_ddl=True,
)
context.run_migrations()
