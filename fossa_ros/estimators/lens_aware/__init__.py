"""Depth from the evidence of a stack whose lens is known: a small network that pools it along surfaces."""
