"""Renews what is generated: ``python -m tests.protocol.rewrite`` writes protocol/asyncapi.json."""

from pathlib import Path

from protocol import asyncapi

ASYNCAPI = Path(asyncapi.__file__).with_name("asyncapi.json")

if __name__ == "__main__":
    ASYNCAPI.write_bytes(asyncapi.document())
