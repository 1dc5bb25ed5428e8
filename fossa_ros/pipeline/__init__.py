"""From a captured sweep to a depth map: motion check, estimator, temporal filter."""
