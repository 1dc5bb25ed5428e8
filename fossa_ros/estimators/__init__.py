"""From a focus stack to a depth map: the classical estimator, FOSSA, and those of other packages."""
