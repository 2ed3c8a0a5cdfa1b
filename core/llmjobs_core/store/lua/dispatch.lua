-- Fills a pool's window. ARGV: pool
return dispatch(ARGV[3])
