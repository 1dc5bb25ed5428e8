"""Real images: a video through OpenCV, and the focus sweep of a real webcam where it is at hand."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from fossa_ros.calibration.calibrate import calibrate
from fossa_ros.calibration.live import VideoCamera, both_ways
from fossa_ros.calibration.recording import read_recording
from fossa_ros.core.errors import InputError

WEBCAM = Path(__file__).parents[1] / "../shared/data/real_stacks/uvc_webcam_focus_sweep"


def test_a_video_camera_waits_and_throws_stored_frames_away(tmp_path):
    file = str(tmp_path / "video.avi")
    writer = cv2.VideoWriter(file, cv2.VideoWriter_fourcc(*"MJPG"), 30, (64, 48))
    for number in range(12):
        writer.write(np.full((48, 64, 3), 20 * number, np.uint8))
    writer.release()
    camera = VideoCamera(file, stored=4)
    wanted = time.time_ns() + 50_000_000
    first = camera.frame_after(wanted)
    assert time.time_ns() >= wanted
    assert first.shape == (48, 64) and first.mean() == pytest.approx(80, abs=2)
    assert camera.frame_after(0).mean() == pytest.approx(180, abs=2)
    with pytest.raises(InputError, match="no more images"):
        camera.frame_after(0)
    camera.close()
    with pytest.raises(InputError, match="cannot be opened"):
        VideoCamera(str(tmp_path / "none.avi"))


def test_the_lens_goes_up_and_back():
    assert both_ways(0, 4, 3) == (0, 2, 4, 2, 0)


@pytest.mark.skipif(not WEBCAM.is_dir(), reason="the webcam sweep is not published; it lies in ../shared where it is")
def test_a_real_webcam_breathes_only_where_its_lens_moves(tmp_path):
    """Of focus_absolute 0 to 255 the first 30 move nothing, as the sharpness says too; then the image grows by 4 %."""
    frames = []
    for number in range(0, 256, 5):
        file = f"frame_{number:03}.jpg"
        shutil.copy(WEBCAM / file, tmp_path)
        frames.append({"file": file, "command": number})
    (tmp_path / "calibration.json").write_text(json.dumps({"series": [{"frames": frames}]}))
    recording = read_recording(tmp_path)
    result = calibrate(recording.series, recording.device)
    assert 45 < result.passes[0].peak.command < 70
    scale = np.exp((result.breathing.at([10, 20, 30, 40, 50, 60, 250]) - result.breathing.at(0))[:, 0])
    assert np.abs(scale[:3] - 1).max() < 0.0004
    # What one registration with the first image says of each: a lens that sets off at 30 and turns at 50.
    assert scale[3:6] == pytest.approx([1.0026, 1.0077, 1.0097], abs=0.0004)
    assert scale[6] == pytest.approx(1.040, abs=0.001)
    assert result.breathing.residual < 5e-4
