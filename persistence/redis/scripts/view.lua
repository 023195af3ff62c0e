-- Answers all there is. ARGV: cluster, known stamp.

return view(ARGV[2])
