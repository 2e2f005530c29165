"""Is a gradient right?  Pairs, whole graphs, single nodes of a live graph, and the first wrong operation."""
