"""Whole servers: real processes, real sockets, a real PostgreSQL."""
