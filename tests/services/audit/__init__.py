"""Proofs that find whatever was tampered with."""
