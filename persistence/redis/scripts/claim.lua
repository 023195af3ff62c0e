-- Nothing but what every script begins with. ARGV: cluster.

return 1
