"""Calibration with one printed board: camera, breathing, focus and blur of a lens, without a tape measure."""
