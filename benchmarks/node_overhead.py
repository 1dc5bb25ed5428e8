"""Measure what the node costs beside inference: from the end of a sweep until its results are published.

The wait until the lens has reported that it held still for the last image is a stage of its own, and not among the
times until results are out.

The node runs as usual, but its estimator returns a known answer. Another process publishes the images of a camera whose
lens is driven elsewhere, a third subscribes. Results are times by stage or, with ``--memory``, resident memory.

With ``--own-camera`` the node has the camera itself: the same images at the same times, from a stand-in for OpenCV's
V4L2 backend within the node, and nothing of them crosses DDS. What a real camera and its driver cost is in neither.

    python benchmarks/node_overhead.py [--width 1280] [--height 960] [--sweeps 100] [--memory]
"""

from __future__ import annotations

import functools
import math
import multiprocessing
import os
import resource
import sys
import tempfile
import threading
import time
from collections import defaultdict, deque
from pathlib import Path

import click
import cv2
import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecyclePublisher
from rich.console import Console
from rich.progress import Progress
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_msgs.msg import Header

from fossa_ros.core.all_in_focus import compose_all_in_focus
from fossa_ros.core.freed_memory import keep_freed_memory
from fossa_ros.core.stack import DepthMap
from fossa_ros.estimators import Estimator
from fossa_ros.io.camera_source import CameraSource
from fossa_ros.messages import camera_frames
from fossa_ros.messages.fields import nanoseconds
from fossa_ros.msg import LensState
from fossa_ros.parameters.depth_config import EstimatorConfig
from fossa_ros.pipeline import cloud, result_messages
from fossa_ros.pipeline import worker as pipeline
from fossa_ros.ros import capture_component, environment, lifecycle, outputs, qos
from fossa_ros.ros.conversions import image_message, time_message
from fossa_ros.ros.fossa_node import FossaNode
from fossa_ros.sweep import SweepDecoder, SweepPlan

PLANES, EXPOSURE = 5, 0.003
EXPOSURE_NS = round(EXPOSURE * 1e9)
MARGIN = 0.01  # seconds: the camera is a program, and late on a busy machine
MARGIN_NS = round(MARGIN * 1e9)
REPORT_NS = 10_000_000  # between reports of the lens while it holds a plane
HELD_NS = 15_000_000  # for which the lens holds a plane before and after the exposure
PLAN = SweepPlan.evenly(0.35, 6.0, PLANES)
SUBSCRIBED = (("depth/image", Image), ("all_in_focus/image", Image), ("points", PointCloud2))
COMPRESSED = (
    ("depth/image/compressedDepth", CompressedImage),
    ("all_in_focus/image/compressed", CompressedImage),
    ("points", PointCloud2),
)
BEFORE = ("decode", "assemble", "align")  # inference
SENT = {
    "depth/image": "send the depth",
    "all_in_focus/image": "send the all-in-focus image",
    "depth/image/compressedDepth": "send the depth",
    "all_in_focus/image/compressed": "send the all-in-focus image",
    "points": "send the cloud",
}
SENDING = tuple(dict.fromkeys(SENT.values()))
STAGES = ("wait", *BEFORE, "encode", "fuse", "cloud", "compress", *SENDING, "until depth is out", "until all is out")


def planes_of(width: int, height: int) -> list[np.ndarray]:
    """Return a textured wall at 1 m as each plane sees it: (H, W, 3) uint8."""
    rng = np.random.default_rng(0)
    wall = np.zeros((height, width, 3), np.float32)
    for cell in (4, 16, 64):
        noise = rng.normal(size=(height // cell + 2, width // cell + 2, 3)).astype(np.float32)
        wall += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    wall = np.clip(128 + 40 * wall, 0, 255)
    blurs = [0.3 + 2.0 * abs(1 / distance - 1.0) for distance in PLAN.focus_distances]
    return [cv2.GaussianBlur(wall, (0, 0), blur).astype(np.uint8) for blur in blurs]


ORDER = (*range(PLANES), *reversed(range(PLANES)))  # of the planes, near-far-near-far
STARTING_NS = 5_000_000_000  # until the processes are there
WARM_UP = 20  # frames


class OwnCamera:
    """The images of ``camera`` as OpenCV's V4L2 backend gives them.

    Args:
        width, height: of the images.
        rate: frames a second.
        first_ns: start of the first exposure.
    """

    def __init__(self, width: int, height: int, rate: float, first_ns: int):
        self._planes = [cv2.cvtColor(plane, cv2.COLOR_RGB2BGR) for plane in planes_of(width, height)]
        self._rate, self._first_ns = rate, first_ns
        self._index, self._stamp_ns = 0, 0

    def read(self):
        """Wait for the end of the next exposure; return its image."""
        due = math.ceil((time.time_ns() - EXPOSURE_NS - self._first_ns) * self._rate / 1e9)
        self._index = max(self._index + 1, due, 0)
        self._stamp_ns = self._first_ns + round(self._index * 1e9 / self._rate)
        wait_until(self._stamp_ns + EXPOSURE_NS)
        return True, self._planes[ORDER[self._index % len(ORDER)]].copy()  # as OpenCV copies from its buffer

    def get(self, what):
        """Return the time of the buffer on the monotonic clock, ms."""
        return (time.monotonic_ns() - (time.time_ns() - self._stamp_ns)) / 1e6 if what == cv2.CAP_PROP_POS_MSEC else 0

    def set(self, what, value):
        """Refuse everything."""
        return False

    def getBackendName(self):
        """Return the name of the backend that gives times of exposure."""
        return "V4L2"

    def release(self):
        """Do nothing."""


def camera(width: int, height: int, rate: float, encoding: str, own: bool, first_ns: int, cost, ended) -> None:
    """Publish frames, near-far-near-far, and the state of the lens for each, in a process of its own.

    Args:
        width, height, rate, encoding: of the images.
        own: whether the node has the camera; the images are not published, then.
        first_ns: start of the first exposure.
        cost: receives the processor time of a frame, ms.
        ended: tells when to end.
    """
    environment.complete()
    rclpy.init()
    node = rclpy.create_node("camera")
    images = node.create_publisher(Image, "image", qos.FRAMES)
    infos = node.create_publisher(CameraInfo, "camera_info", qos.FRAMES)
    lens = node.create_publisher(LensState, "lens/state", qos.RESULTS)
    info = CameraInfo(width=width, height=height)
    info.k = [float(width), 0.0, (width - 1) / 2, 0.0, float(width), (height - 1) / 2, 0.0, 0.0, 1.0]
    planes = planes_of(width, height)
    if encoding == "mono8":
        planes = [cv2.cvtColor(plane, cv2.COLOR_RGB2GRAY) for plane in planes]
    elif encoding == "bayer_rggb8":
        planes = [mosaic(plane) for plane in planes]
    messages = [image_message(plane, encoding, Header()) for plane in planes]

    def publish_state(stamp_ns: int, plane: int) -> None:
        state = LensState(reachable=True, measured=True, focus_distance=PLAN.focus_distances[plane])
        state.header.stamp = time_message(stamp_ns)
        lens.publish(state)

    index = math.ceil((time.time_ns() + HELD_NS - first_ns) * rate / 1e9) if time.time_ns() > first_ns else 0
    first, began = index + WARM_UP, 0.0
    while not ended.is_set():
        if index == first:
            began = time.process_time()
        plane = ORDER[index % len(ORDER)]
        stamp_ns = first_ns + round(index * 1e9 / rate)  # as regular as a camera's
        wait_until(stamp_ns - HELD_NS)
        publish_state(stamp_ns - HELD_NS, plane)
        header = Header(stamp=time_message(stamp_ns), frame_id="optical")
        info.header = messages[plane].header = header
        wait_until(stamp_ns + EXPOSURE_NS)
        if not own:
            infos.publish(info)
            images.publish(messages[plane])
        for held_ns in range(0, HELD_NS * 2 + 1, REPORT_NS):  # a lens that measures its position says it often
            wait_until(stamp_ns + EXPOSURE_NS + held_ns)
            publish_state(stamp_ns + EXPOSURE_NS + held_ns, plane)
        index += 1
    cost.value = (time.process_time() - began) / max(index - first, 1) * 1e3
    rclpy.try_shutdown()


def wait_until(time_ns: int) -> None:
    """Wait until the clock shows a time."""
    time.sleep(max((time_ns - time.time_ns()) / 1e9, 0.0))


def mosaic(rgb: np.ndarray) -> np.ndarray:
    """Return an image as an (H, W) mosaic rggb."""
    raw = rgb[..., 1].copy()
    raw[::2, ::2], raw[1::2, 1::2] = rgb[::2, ::2, 0], rgb[1::2, 1::2, 2]
    return raw


def subscriber(ended, frugal: bool, subscribed) -> None:
    """Subscribe in a separate process; ``frugal`` keeps freed memory for reuse, as the nodes do."""
    if frugal:
        keep_freed_memory()
    environment.complete()
    rclpy.init()
    node = rclpy.create_node("subscriber")
    for topic, kind in subscribed:
        node.create_subscription(kind, topic, lambda message: None, qos.RESULTS)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    while not ended.is_set():
        executor.spin_once(timeout_sec=0.1)
    rclpy.try_shutdown()


class Known(Estimator):
    """Return a known answer, a slanted wall, and compose the all-in-focus image as other estimators do."""

    name = "known"

    def estimate(self, stack):
        height, width = stack.size
        depth = np.broadcast_to(np.linspace(0.5, 4.0, width, dtype=np.float32), (height, width)).copy()
        return DepthMap(
            depth, np.ones_like(depth), lambda: compose_all_in_focus(stack, depth), stack.K, stack.stamp_ns, self.name
        )


class Stopwatch:
    """Times of each sweep by stage, in ms, from wrappers around the functions that do the work.

    Processor time is that of the calling thread; on a busy machine it shows what a quiet machine would take.
    """

    def __init__(self):
        self.arrivals: dict[int, float] = {}
        self.late: list[float] = []  # ms from the end of each exposure until its image is with the capture
        self.states: deque[tuple[int, float]] = deque(maxlen=200)
        self.ended: dict[str, float] = {}  # when a stage last did
        self.now: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(2))  # elapsed, processor
        self.earlier: dict[int, dict[str, np.ndarray]] = defaultdict(lambda: defaultdict(lambda: np.zeros(2)))
        self.sweeps: list[np.ndarray] = []  # (stages, 2)
        self.bytes = 0  # published, of images and clouds
        self._lock = threading.Lock()

    def wrap(self, owner, name: str, stage, sweep=lambda args: None) -> None:
        """Add the time spent in ``owner.name`` to a stage.

        Args:
            owner: class or module.
            name: of the function.
            stage: name, or a function that returns it for the arguments.
            sweep: returns the number of the sweep for the arguments, where the call comes before publishing; None for
                the sweep that is being published.
        """
        of = stage if callable(stage) else lambda args: stage
        function = getattr(owner, name)

        @functools.wraps(function)
        def timed(*args, **kwargs):
            began = np.array([time.perf_counter(), time.thread_time()])
            try:
                return function(*args, **kwargs)
            finally:
                ended = np.array([time.perf_counter(), time.thread_time()])
                took = (ended - began) * 1e3
                with self._lock:
                    number, stage = sweep(args), of(args)
                    self.ended[stage] = ended[0]
                    if number is None:
                        self.now[stage] += took
                    else:
                        self.earlier[number][stage] = took

        setattr(owner, name, timed)

    def arrived(self, stamp_ns: int) -> None:
        """Note the arrival of an image."""
        self.arrivals[stamp_ns] = time.perf_counter()
        self.late.append((time.time_ns() - stamp_ns - EXPOSURE_NS) / 1e6)
        while len(self.arrivals) > 200:
            del self.arrivals[next(iter(self.arrivals))]

    def lens_reported(self, stamp_ns: int) -> None:
        """Note the arrival of a state of the lens."""
        self.states.append((stamp_ns, time.perf_counter()))

    def published(self, result) -> None:
        """Complete the times of a sweep."""
        with self._lock:
            spent, self.now = self.now, defaultdict(lambda: np.zeros(2))
            spent |= self.earlier.pop(result.sweep.number, {})
        if result.depth is None:
            return
        last_ns, inference = max(result.sweep.stamps_ns), spent["inference"][0]
        held = next(arrival for stamp_ns, arrival in self.states if stamp_ns >= last_ns + EXPOSURE_NS + MARGIN_NS)
        began = max(self.arrivals[last_ns], held)
        all_out = (time.perf_counter() - began) * 1e3 - inference
        depth_out = (self.ended.get(SENT["depth/image"], np.nan) - began) * 1e3 - inference
        spent["assemble"] = np.maximum(spent["assemble"] - spent["decode"], 0.0)
        before = sum(spent[stage] for stage in BEFORE)
        work = before + sum(spent[stage] for stage in ("encode", "fuse", "cloud", "compress", *SENDING))
        spent["wait"] = np.array([(self.began - began) * 1e3 - inference - before[0], 0.0])
        waited = spent["wait"][0]  # for the report of the lens that decides, which this lens makes when it does
        spent["until depth is out"] = np.array([depth_out - waited, before[1] + spent[SENT["depth/image"]][1]])
        spent["until all is out"] = np.array([all_out - waited, work[1]])
        self.sweeps.append(np.array([spent[stage] for stage in STAGES]))


def instrument(watch: Stopwatch) -> None:
    """Wrap the functions that the node calls."""
    EstimatorConfig.create = lambda config: Known()
    watch.wrap(camera_frames, "rgb_from_message", "decode")
    watch.wrap(SweepDecoder, "decode_sweep", "assemble", lambda args: args[1])
    watch.wrap(pipeline, "check_motion", "align", lambda args: args[0].number)
    watch.wrap(Known, "estimate", "inference")
    watch.wrap(sys.modules[__name__], "compose_all_in_focus", "fuse")
    watch.wrap(result_messages, "depth_fields", "encode")
    watch.wrap(cloud, "coloured_cloud", "cloud")
    watch.wrap(result_messages, "compressed_depth_fields", "compress")
    watch.wrap(result_messages, "compressed_colour_fields", "compress")
    watch.wrap(outputs, "build_message", lambda args: "cloud" if args[0] is PointCloud2 else "encode")
    watch.wrap(LifecyclePublisher, "publish", lambda args: SENT.get(args[0].topic_name[1:], "send the rest"))
    on_frame, publish = capture_component.CaptureComponent._on_frame, outputs.Outputs.publish

    def arrived(self, image, info):
        watch.arrived(nanoseconds(image.header.stamp))
        on_frame(self, image, info)

    on_lens = capture_component.CaptureComponent._on_external_lens

    def lens_reported(self, message):
        watch.lens_reported(nanoseconds(message.header.stamp))
        on_lens(self, message)

    capture_component.CaptureComponent._on_external_lens = lens_reported

    def published(self, result):
        watch.began = time.perf_counter()
        report = publish(self, result)
        watch.published(result)
        return report

    send = LifecyclePublisher.publish

    def counted(self, message):
        watch.bytes += len(getattr(message, "data", ()))
        send(self, message)

    LifecyclePublisher.publish = counted
    capture_component.CaptureComponent._on_frame, outputs.Outputs.publish = arrived, published


def run(width, height, rate, encoding, sweeps, subscribed, frugal, own, more, advance):
    """Run sweeps; return the times, resident memory (MiB) after each sweep, and processor time of a frame (ms).

    The processor times are of the node and of the camera's process.
    """
    context = multiprocessing.get_context("spawn")
    ended, cost, first_ns = context.Event(), context.Value("d"), time.time_ns() + STARTING_NS
    workers = [context.Process(target=camera, args=(width, height, rate, encoding, own, first_ns, cost, ended))]
    workers += [context.Process(target=subscriber, args=(ended, frugal, subscribed))] if subscribed else []
    watch, memory = Stopwatch(), []
    instrument(watch)
    parameters = {"sweep.mode": "external", "sweep.exposure": EXPOSURE}
    parameters |= {"sweep.focus_tolerance": 10.0, "sweep.clock_margin": MARGIN} | more
    folder = tempfile.TemporaryDirectory()
    if own:
        info = Path(folder.name) / "info.yaml"
        K = [width, 0, (width - 1) / 2, 0, width, (height - 1) / 2, 0, 0, 1]
        info.write_text(f"{{image_width: {width}, image_height: {height}, camera_matrix: {{data: {K}}}}}")
        parameters |= {"camera.source": "own", "camera.info_url": str(info), "camera.frame_id": "optical"}
        stand_in = OwnCamera(width, height, rate, first_ns)
        capture_component.CameraSource = functools.partial(CameraSource, open_capture=lambda source: stand_in)
    rclpy.init(args=["--ros-args", *(word for item in parameters.items() for word in ("-p", "{}:={}".format(*item)))])
    node = FossaNode()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    for worker in workers:
        worker.start()
    node.trigger_configure()
    node.trigger_activate()
    seen, began = 0, (0.0, 0)
    try:
        while len(watch.sweeps) < sweeps + 5:
            executor.spin_once(timeout_sec=0.1)
            if len(watch.sweeps) > seen:
                seen = len(watch.sweeps)
                if seen == 5:
                    began = time.process_time(), len(watch.late)
                memory.append(resident())
                advance()
        node_ms = (time.process_time() - began[0]) / (len(watch.late) - began[1]) * 1e3
    finally:
        ended.set()
        node.release()
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()
        for worker in workers:
            worker.join(10)
            worker.kill()
        folder.cleanup()
    return watch, memory[5:], (node_ms, cost.value)


def copying(size: int) -> float:
    """Return the p50 of the time to copy ``size`` bytes in memory, in ms."""
    source, target, times = np.ones(size, np.uint8), np.zeros(size, np.uint8), []
    for _ in range(20):
        began = time.perf_counter()
        np.copyto(target, source)
        times.append((time.perf_counter() - began) * 1e3)
    return float(np.median(times))


def resident() -> float:
    """Return this process's resident memory, MiB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


@click.command()
@click.option("--width", default=1280, show_default=True)
@click.option("--height", default=960, show_default=True)
@click.option("--rate", default=10.0, show_default=True, help="Frames a second.")
@click.option("--encoding", default="rgb8", type=click.Choice(["rgb8", "mono8", "bayer_rggb8"]), show_default=True)
@click.option("--sweeps", default=100, show_default=True, help="Number of sweeps.")
@click.option("--unsubscribed", is_flag=True, help="Without subscribers.")
@click.option("--compressed", is_flag=True, help="Subscribe to compressed depth and colour in place of the images.")
@click.option("--own-camera", "own", is_flag=True, help="The node has the camera itself; rgb8.")
@click.option("--set", "pairs", multiple=True, metavar="NAME=VALUE", help="Parameter of the node; repeatable.")
@click.option("--memory", is_flag=True, help="Print resident memory over the sweeps in place of times.")
@click.option("--threads", default=lifecycle.OPENCV_THREADS, show_default=True, help="Threads of OpenCV.")
@click.option("--wasteful", is_flag=True, help="The subscriber returns freed memory, as most programs do.")
def main(width, height, rate, encoding, sweeps, unsubscribed, compressed, own, pairs, memory, threads, wasteful):
    """Measure what the node costs beside inference."""
    lifecycle.prepare_process(threads)
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    load = os.getloadavg()[0]
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("Sweeps", total=sweeps)
        topics = () if unsubscribed else COMPRESSED if compressed else SUBSCRIBED
        how = topics, not wasteful, own, dict(pair.split("=", 1) for pair in pairs)
        watch, held, (node_ms, camera_ms) = run(width, height, rate, encoding, sweeps, *how, lambda: bar.advance(task))
    threads = cv2.getNumThreads()
    print(
        f"{width}x{height} {encoding}, {PLANES} planes, {rate:g} Hz, {sweeps} sweeps, {threads} threads; "
        f"load {load:.1f} before.\n"
    )
    if memory:
        marks = np.unique(np.linspace(0, len(held) - 1, 11).astype(int))
        print("| sweep | " + " | ".join(map(str, marks)) + " |\n|---|" + "---|" * len(marks))
        print("| resident, MiB | " + " | ".join(f"{held[mark]:.1f}" for mark in marks) + " |")
        return
    late = np.percentile(watch.late[WARM_UP:], [50, 95])
    print(
        f"An image is with the capture {late[0]:.2f} ms after its exposure (p95 {late[1]:.2f}). Processor time of a "
        f"frame: {node_ms:.1f} ms of the node, {camera_ms:.1f} ms of the process that has {'lens' if own else 'camera'}"
        f"{'' if own else ' and lens'}.\n"
    )
    published = watch.bytes // len(watch.sweeps)
    print(f"What is published are {published / 1e6:.1f} MB; to copy them once takes {copying(published):.1f} ms.\n")
    print("| stage | elapsed p50, ms | p95 | processor p50, ms | p95 |\n|---|---|---|---|---|")
    for stage, times in zip(STAGES, np.swapaxes(watch.sweeps[5:], 0, 1), strict=True):
        figures = np.percentile(times, [50, 95], axis=0).T.ravel()
        print(f"| {stage} | " + " | ".join(f"{figure:.2f}" for figure in figures) + " |")


if __name__ == "__main__":
    main()
