"""What people and machines start by hand; no part of the server imports it."""
