"""What every room stands on: focus stacks and depth maps, optics, geometry, errors."""
