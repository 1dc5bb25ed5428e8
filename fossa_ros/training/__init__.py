"""Training of depth from defocus on synthetic focus stacks: scenes, lenses, rendering, losses and the loop."""
