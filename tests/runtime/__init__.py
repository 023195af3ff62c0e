"""The runtime on virtual time: real rooms, the memory store with faults, viewers that look."""
