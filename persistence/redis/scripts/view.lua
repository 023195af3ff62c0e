-- Answers all there is. ARGV: cluster.

return view()
