"""Files: stacks, photographs, pictures and point clouds, read with checks and written whole."""
