"""ROS messages and bags without ROS: fields, images, stamps, exposure times."""
