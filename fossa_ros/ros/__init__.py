"""The ROS 2 side: convert, schedule, publish. Nothing here computes depth."""
