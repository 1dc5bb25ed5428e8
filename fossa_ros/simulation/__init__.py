"""A simulated world: scenes, a thin-lens camera and its motion, and lens devices that speak real protocols."""
