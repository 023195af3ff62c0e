"""Several servers under one supervisor."""
