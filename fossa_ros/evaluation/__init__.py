"""How good depth is: metrics."""
