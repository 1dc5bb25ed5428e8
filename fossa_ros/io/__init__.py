"""Files: stacks, photographs, pictures, point clouds and settings, checked when read and written atomically."""
