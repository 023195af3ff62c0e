"""What can be said on the wire, and nothing of who says it."""
