"""The directory on Redis or Valkey. Knows nodes, leases and lines of rooms; decides in Lua."""
