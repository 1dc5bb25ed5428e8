"""Frames: the override, the static transform, and the description of the rig."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import xacro
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from fossa_ros.core.errors import InputError
from fossa_ros.messages.camera_frames import CameraFrames
from fossa_ros.msg import LensState, SweepReport
from fossa_ros.parameters.capture_config import TransformConfig
from fossa_ros.ros import qos
from fossa_ros.sweep.gyro import rotation_matrix
from node_processes import process, simulated_rig

URDF = Path(__file__).parents[1] / "urdf"
TF2 = pytest.mark.skipif(find_spec("tf2_msgs") is None, reason="tf2_msgs comes with a ROS distribution")


def by_roll_pitch_yaw(text):
    """Return the (3, 3) rotation of a URDF's rpy: about the fixed axes x, y, z in turn."""
    matrix = np.eye(3)
    for axis, angle in enumerate(map(float, text.split())):
        turn = np.eye(3)
        others = [other for other in range(3) if other != axis]
        sine = math.sin(angle) * (-1 if axis == 1 else 1)
        turn[np.ix_(others, others)] = [[math.cos(angle), -sine], [sine, math.cos(angle)]]
        matrix = turn @ matrix
    return matrix


def described(file, **mappings):
    return ET.fromstring(xacro.process_file(str(file), mappings=mappings).toxml())


def joints(robot):
    return {
        joint.get("name"): (joint.find("parent").get("link"), joint.find("child").get("link"), joint.find("origin"))
        for joint in robot.findall("joint")
    }


def test_the_description_has_the_camera_where_it_is_mounted_and_its_optical_frame():
    robot = described(URDF / "rig.urdf.xacro", parent="head", name="eye", xyz="0.1 0 0.3", rpy="0 0.2 0")
    assert {link.get("name") for link in robot.findall("link")} == {"head", "eye_link", "eye_optical_frame"}
    (mount, optical) = (joints(robot)[f"eye_{name}"] for name in ("joint", "optical_joint"))
    assert mount[:2] == ("head", "eye_link") and mount[2].attrib == {"xyz": "0.1 0 0.3", "rpy": "0 0.2 0"}
    assert optical[:2] == ("eye_link", "eye_optical_frame")
    # What the node publishes by default is what the description says.
    said = by_roll_pitch_yaw(optical[2].get("rpy"))
    np.testing.assert_allclose(rotation_matrix(TransformConfig().rotation), said, atol=1e-12)
    np.testing.assert_allclose(said @ [0, 0, 1], [1, 0, 0], atol=1e-12)  # it looks along x
    np.testing.assert_allclose(said @ [0, 1, 0], [0, 0, -1], atol=1e-12)  # its rows go down


def test_a_robot_can_have_two_cameras_of_its_own_size_and_frames(tmp_path):
    file = tmp_path / "two.urdf.xacro"
    file.write_text(
        f'<robot name="two" xmlns:xacro="http://www.ros.org/wiki/xacro"><xacro:include filename="{URDF}/'
        'fossa_camera.urdf.xacro"/><link name="base_link"/><xacro:fossa_camera name="left" parent="base_link" '
        'optical_frame="left_camera" body="0.04 0.05 0.06" lens_diameter="0.02"/>'
        '<xacro:fossa_camera name="right" parent="base_link"/></robot>'
    )
    robot = described(file)
    names = [link.get("name") for link in robot.findall("link")]
    assert names == ["base_link", "left_link", "left_camera", "right_link", "right_optical_frame"]
    left = robot.find("link[@name='left_link']")
    assert left.find("visual/geometry/box").get("size") == "0.04 0.05 0.06"
    assert [cylinder.get("radius") for cylinder in left.iter("cylinder")] == ["0.01", "0.01"]
    assert all(float(left.find("inertial/inertia").get(axis)) > 0 for axis in ("ixx", "iyy", "izz"))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"rotation": (0.0, 0.0, 0.0, 2.0)}, r"tf\.rotation must be a quaternion \(x, y, z, w\) of length 1"),
        ({"rotation": (1.0, 0.0, 0.0)}, r"tf\.rotation must be a quaternion"),
        ({"translation": (1.0, 0.0)}, r"tf\.translation must be three numbers x, y, z"),
    ],
)
def test_a_transform_that_is_none_is_a_sentence(values, words):
    with pytest.raises(InputError, match=words):
        TransformConfig(**values)


def test_the_frame_is_overridden_where_frames_are_made_so_that_replay_does_it_too():
    frames, info = [], CameraInfo(width=8, height=6)
    info.header.frame_id = "camera"
    CameraFrames(frames.append, frame_id="robot_eye").add(Image(width=8, height=6, encoding="rgb8"), info, 0)
    assert frames[0].camera_info.header.frame_id == "robot_eye"


@pytest.mark.real_time
def test_everything_is_published_in_the_frame_that_was_asked_for(listener, tmp_path):
    kinds = {"depth/image": Image, "depth/camera_info": CameraInfo, "points": PointCloud2, "sweep": SweepReport}
    for topic, kind in kinds.items():
        listener.subscribe(kind, topic, qos.REPORTS if topic == "sweep" else qos.RESULTS)
    listener.subscribe(LensState, "lens/state", qos.LATCHED)
    with (
        simulated_rig(tmp_path, 64, 64, 150.0) as link,
        process("fossa_node", tmp_path / "node.log", lens__port=link, camera__frame_id="robot_eye"),
    ):
        for topic in (*kinds, "lens/state"):
            heard = listener.wait_for(topic, 3)
            assert heard[-1].header.frame_id == "robot_eye", topic


@pytest.mark.real_time
@pytest.mark.skipif(find_spec("tf2_msgs") is not None, reason="tf2_msgs is installed")
def test_without_the_message_tf_publish_is_refused_in_a_sentence(listener, tmp_path):
    log = tmp_path / "node.log"
    with process("fossa_node", log, sweep__mode="external", tf__publish="true", autostart="true"):
        listener.wait_until(lambda: "tf.publish needs the package tf2_msgs" in log.read_text(), "the sentence")
    assert "Traceback" not in log.read_text() and "or set tf.publish to false. Trying again" in log.read_text()


@TF2
@pytest.mark.real_time
def test_who_comes_late_hears_where_the_camera_is(listener, tmp_path):
    from tf2_msgs.msg import TFMessage

    with (
        simulated_rig(tmp_path, 64, 64, 150.0) as link,
        process(
            "fossa_node",
            tmp_path / "node.log",
            lens__port=link,
            tf__publish="true",
            tf__parent="head",
            tf__translation="[0.1,0.0,0.3]",
        ),
    ):
        listener.subscribe(Image, "depth/image")
        frame = listener.wait_for("depth/image", 2)[-1].header.frame_id
        listener.subscribe(TFMessage, "/tf_static", qos.LATCHED)
        (transform,) = listener.wait_for("/tf_static")[0].transforms
        assert (transform.header.frame_id, transform.child_frame_id) == ("head", frame)
        place, turn = transform.transform.translation, transform.transform.rotation
        assert (place.x, place.y, place.z) == (0.1, 0.0, 0.3)
        assert (turn.x, turn.y, turn.z, turn.w) == TransformConfig().rotation
