"""The server's memory: tables, one store per aggregate, migrations. The only user of SQLAlchemy."""
