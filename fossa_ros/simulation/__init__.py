"""A simulated world: scenes, a thin-lens camera, its motion, lens devices that speak real protocols."""
