"""Lens calibration: focus over command, hysteresis, drift with temperature, and breathing of the image."""
