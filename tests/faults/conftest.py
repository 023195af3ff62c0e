"""A PostgreSQL for the checks; the campaign has its own."""

from tests.persistence.postgres_fixture import postgres_server

__all__ = ["postgres_server"]  # A fixture is found in the conftest by its name.
