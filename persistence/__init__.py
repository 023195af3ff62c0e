"""Stores of bytes and money that do not interpret what they keep."""
