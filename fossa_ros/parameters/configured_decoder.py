"""The decoder that a node's parameters describe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fossa_ros.calibration.configured_lens import configured_breathing
from fossa_ros.core.sample_range import LOG, Log
from fossa_ros.messages.camera_frames import FrameDecoder, frame_camera
from fossa_ros.parameters.capture_config import CaptureConfig
from fossa_ros.sweep import GyroBuffer, SweepDecoder

if TYPE_CHECKING:
    from fossa_ros.calibration.lens_calibration import LensCalibration


def configured_decoder(
    config: CaptureConfig, calibration: LensCalibration | None, gyro: GyroBuffer, log: Log = LOG
) -> SweepDecoder:
    """Return what decodes the frames of a camera and makes sweeps of them.

    Args:
        config: of the capture; the optics of its camera go into every stack.
        calibration: of the lens, which describes its focus breathing; None where there is none.
        gyro: samples of the gyroscope.
        log: receives what is found out and assumed of the images.
    """
    decode = FrameDecoder(config.camera.bits, log)
    return SweepDecoder(
        decode,
        scale=decode.scale,
        camera=frame_camera,
        focal_length=config.camera.focal_length,
        f_number=config.camera.f_number,
        gyro=gyro.between,
        breathing=configured_breathing(calibration),
    )
