"""Data types and formulae that all other packages use: focus stacks, depth maps, optics, geometry, errors."""
