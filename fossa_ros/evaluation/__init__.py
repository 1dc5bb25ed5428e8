"""How good a depth map is, and how estimators compare: metrics, benchmarks, bag replay, reports."""
