"""The store that lasts: PostgreSQL 14 or newer, with no extensions."""
