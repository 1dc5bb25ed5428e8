"""Configuration of nodes and commands: typed dataclasses, built from ROS parameters or parameter files."""
