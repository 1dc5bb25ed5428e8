"""A simulated world: textured scenes, a thin-lens camera, its motion, and lens devices that speak real protocols."""
