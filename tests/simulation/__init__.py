"""A whole cluster on virtual time in one thread, from one seed: see ``world``."""
