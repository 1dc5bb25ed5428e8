# fossa_ros on ROS 2 Jazzy: for a robot, and with --target test for CI.
#
#   docker build -t fossa_ros .
#   docker run --rm --net host --ipc host --device /dev/ttyACM0 -v ~/my_robot.yaml:/robot.yaml:ro fossa_ros \
#     ros2 launch fossa_ros fossa.launch.py params_file:=/robot.yaml image:=/camera/image_raw \
#     camera_info:=/camera/camera_info
#
# With an NVIDIA GPU: --gpus all. Without one, torch is a tenth of the size from its index for CPUs:
#   docker build --build-arg PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu -t fossa_ros .
ARG ROS_DISTRO=jazzy

# What the package needs to run. Only package.xml and the script decide what is in these layers.
FROM ros:${ROS_DISTRO}-ros-base AS base
ARG PIP_EXTRA_INDEX_URL
ENV PIP_NO_CACHE_DIR=1
ENV VIRTUAL_ENV=/opt/venv PATH=/opt/venv/bin:${PATH}
WORKDIR /workspace/src/fossa_ros
COPY package.xml ./
COPY .ci/install_ros_dependencies .ci/
RUN .ci/install_ros_dependencies /opt/venv --dependency-types exec \
    && rm -rf /var/lib/apt/lists/* /root/.ros

FROM base AS build
RUN .ci/install_ros_dependencies /opt/venv && rm -rf /var/lib/apt/lists/*
WORKDIR /workspace
COPY . src/fossa_ros
RUN . "/opt/ros/${ROS_DISTRO}/setup.sh" \
    && colcon build --merge-install --install-base /opt/fossa_ros

FROM build AS test
RUN . /opt/fossa_ros/setup.sh \
    && colcon test --merge-install --install-base /opt/fossa_ros --return-code-on-test-failure \
    && colcon test-result --verbose

FROM base AS robot
COPY --from=build /opt/fossa_ros /opt/fossa_ros
COPY .ci/entrypoint /entrypoint
# The groups that open serial ports and cameras.
RUN useradd --create-home --uid 1001 --groups dialout,video fossa
USER 1001
WORKDIR /home/fossa
ENTRYPOINT ["/entrypoint"]
CMD ["ros2", "launch", "fossa_ros", "sim.launch.py"]
