"""Metric depth from one camera and one focus lens."""

__version__ = "0.1.0"
