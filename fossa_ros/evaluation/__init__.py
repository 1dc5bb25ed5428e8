"""Evaluation of estimators: metrics, benchmarks, comparison, replay of bags, and reports."""
