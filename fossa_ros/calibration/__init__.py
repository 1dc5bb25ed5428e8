"""What a lens is told, and what that means: focus in dioptres, drift, hysteresis, and the breathing of the image."""
