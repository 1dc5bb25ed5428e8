"""BagReader on bags as recorders, copies, converters and other programs leave them."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from mcap.writer import CompressionType, Writer
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import CompressionMode, StoragePlugin
from rosbags.typesys import Stores, get_typestore

from fossa_ros.core.errors import InputError
from fossa_ros.messages.bag_files import zstd
from fossa_ros.messages.bag_writer import BagWriter, build_message
from fossa_ros.messages.bags import BagReader
from fossa_ros.messages.definitions import typestore
from fossa_ros.messages.fields import header_fields, nanoseconds

LENS, TYPE = "/lens/state", "fossa_ros/msg/LensState"
START = 1_700_000_000_000_000_000
STEP = 10_000_000
STORE = typestore()
MCAP, SQLITE = StoragePlugin.MCAP, StoragePlugin.SQLITE3


def state(index):
    """The fields of a lens state whose stamp and distance tell its index."""
    return {
        "header": header_fields(START + index * STEP, ""),
        "backend": "x" * 2000,
        "reachable": True,
        "focus_distance": float(index),
        "power": 0.0,
        "measured": False,
        "temperature": 20.0,
        "faults": [],
    }


def cdr(index):
    return bytes(STORE.serialize_cdr(build_message(STORE, TYPE, state(index)), TYPE))


def write(folder, indices, storage=MCAP, compression=CompressionMode.NONE):
    with BagWriter(folder, storage=storage, compression=compression) as writer:
        writer.add_topic(LENS, TYPE)
        for index in indices:
            writer.write_serialized(LENS, START + index * STEP, cdr(index))


def storage_of(folder):
    return next(file for file in folder.iterdir() if file.name != "metadata.yaml")


def indices(path, topic=LENS):
    """The indices of all states of a bag, which must come at their times, and the damage."""
    with BagReader(path) as bag:
        read = []
        for recorded in bag.messages([topic]):
            message = bag.read(recorded)
            index = int(message.focus_distance)
            assert nanoseconds(message.header.stamp) == recorded.recorded_ns == START + index * STEP
            read.append(index)
        return read, bag.damage


@pytest.mark.parametrize("storage", [MCAP, SQLITE])
def test_a_recording_of_many_files_is_read_by_number_and_by_time(tmp_path, storage):
    parts = np.array_split(np.arange(60), 12)
    parts = [sorted({*part.tolist()}) for part in parts]
    parts[3][-1], parts[4][0] = parts[4][0], parts[3][-1]  # a recorder closes a file while messages still arrive
    (tmp_path / "bag").mkdir()
    for number, part in enumerate(parts):
        write(tmp_path / "one", sorted(part), storage)
        file = storage_of(tmp_path / "one")
        file.rename(tmp_path / "bag" / f"bag_{number}{file.suffix}")
        shutil.rmtree(tmp_path / "one")
    (tmp_path / "bag" / f"._bag_0{file.suffix}").write_bytes(b"what some copiers leave")
    assert indices(tmp_path / "bag") == (list(range(60)), "")


def test_recordings_of_other_topics_are_one_bag_and_those_of_the_same_time_are_not(tmp_path):
    write(tmp_path / "one", range(9))
    with BagWriter(tmp_path / "two") as writer:
        writer.add_topic("/other", TYPE)
        for index in range(9):
            writer.write_serialized("/other", START + index * STEP, cdr(index))
    (tmp_path / "bag").mkdir()
    for name in ("one", "two"):
        storage_of(tmp_path / name).rename(tmp_path / "bag" / f"{name}.mcap")
    assert indices(tmp_path / "bag") == indices(tmp_path / "bag", "/other") == (list(range(9)), "")
    shutil.copy(tmp_path / "bag" / "one.mcap", tmp_path / "bag" / "zcopy.mcap")
    with pytest.raises(InputError, match=r"one.mcap and zcopy.mcap in .* at the same time; give one file"):
        indices(tmp_path / "bag")


@pytest.mark.parametrize("storage", [MCAP, SQLITE])
def test_messages_that_were_not_written_by_time_are_read_by_time(tmp_path, storage):
    order = np.random.default_rng(0).permutation(500).tolist()
    write(tmp_path / "bag", order, storage)
    assert indices(tmp_path / "bag") == (list(range(500)), "")


def test_a_listed_file_that_is_missing_is_told_and_renamed_ones_are_read(tmp_path):
    write(tmp_path / "bag", range(9))
    metadata = tmp_path / "bag" / "metadata.yaml"
    content = yaml.safe_load(metadata.read_text())
    content["rosbag2_bagfile_information"]["relative_file_paths"].append("bag_1.mcap")
    metadata.write_text(yaml.safe_dump(content))
    assert indices(tmp_path / "bag") == (list(range(9)), "incomplete: bag_1.mcap is missing")
    content["rosbag2_bagfile_information"]["relative_file_paths"] = ["another.mcap"]
    metadata.write_text(yaml.safe_dump(content))
    assert indices(tmp_path / "bag") == (list(range(9)), "")
    metadata.write_text("][")
    (tmp_path / "bag" / "bag_2.mcap").touch()
    assert indices(tmp_path / "bag") == (list(range(9)), "incomplete: bag_2.mcap is empty")


@pytest.mark.parametrize("storage", [MCAP, SQLITE])
@pytest.mark.parametrize("name", ["run.mcap", "run 50% #1?.db3", "run.mcap.active", "without_ending"])
def test_one_file_is_read_whatever_its_name(tmp_path, storage, name):
    write(tmp_path / "bag", range(9), storage)
    assert indices(tmp_path / "bag" / "metadata.yaml") == (list(range(9)), "")
    file = storage_of(tmp_path / "bag").rename(tmp_path / name)
    assert indices(file) == (list(range(9)), "")
    content = file.read_bytes()
    half = len(content) // 2
    file.with_name(f"{name}.zstd").write_bytes(zstd.compress(content[:half]) + zstd.compress(content[half:]))
    assert indices(file.with_name(f"{name}.zstd")) == (list(range(9)), "")


def test_what_is_no_bag_of_ros_2_is_a_sentence(tmp_path):
    for name, content, words in (
        ("empty.mcap", b"", "the file is empty"),
        ("text.mcap", b"no bag", "neither mcap nor SQLite"),
        ("text.mcap.zstd", zstd.compress(b"no bag"), "neither mcap nor SQLite"),
        ("old.bag", b"#ROSBAG V2.0\n", "is a bag of ROS 1; convert it with 'rosbags-convert --src"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=words), BagReader(tmp_path / name):
            pass
    (tmp_path / "folder").mkdir()
    for words in ("has no file that ends in .mcap or .db3", "is a bag of ROS 1"):
        with pytest.raises(InputError, match=words), BagReader(tmp_path / "folder"):
            pass
        (tmp_path / "old.bag").rename(tmp_path / "folder" / "old.bag") if words.startswith("has") else None


def test_a_bag_of_ros_1_can_be_converted_as_the_sentence_says(tmp_path):
    store = get_typestore(Stores.ROS1_NOETIC)
    info, header = (store.types[f"{name}"] for name in ("sensor_msgs/msg/CameraInfo", "std_msgs/msg/Header"))
    time, region = (store.types[name] for name in ("builtin_interfaces/msg/Time", "sensor_msgs/msg/RegionOfInterest"))
    with Writer1(tmp_path / "old.bag") as writer:
        connection = writer.add_connection("/camera_info", info.__msgtype__, typestore=store)
        for index in range(3):
            message = info(
                header(index, time(1_700_000_000 + index, 5), "camera"),
                480,
                640,
                "plumb_bob",
                np.zeros(5),
                np.eye(3).ravel(),
                np.eye(3).ravel(),
                np.zeros(12),
                0,
                0,
                region(0, 0, 0, 0, False),
            )
            writer.write(connection, START + index, store.serialize_ros1(message, info.__msgtype__))
    with pytest.raises(InputError) as refused, BagReader(tmp_path / "old.bag"):
        pass
    command = str(refused.value).split("'")[1].split()
    subprocess.run([Path(sys.executable).with_name(command[0]), *command[1:]], check=True)
    with BagReader(command[command.index("--dst") + 1]) as bag:
        (*_, last) = (bag.read(message) for message in bag.messages(["/camera_info"]))
    assert (last.header.stamp.sec, last.width, last.k[0]) == (1_700_000_002, 640, 1.0)


@contextlib.contextmanager
def mcap_writer(file, **options):
    with file.open("wb") as stream:
        writer = Writer(stream, **options)
        writer.start(profile="ros2")
        yield writer
        writer.finish()


def channel(writer, topic, name, text, *, encoding="ros2msg", messages="cdr", **metadata):
    schema = writer.register_schema(name, encoding, text.encode()) if name else 0
    return writer.register_channel(topic, messages, schema, metadata)


@pytest.mark.parametrize("options", [{}, {"use_chunking": False}, {"use_statistics": False}, {"repeat_schemas": False}])
def test_channels_that_nobody_asked_for_spoil_nothing(tmp_path, options):
    file = tmp_path / "mixed.mcap"
    definition = STORE.generate_msgdef(TYPE, ros_version=2)[0]
    with mcap_writer(file, compression=CompressionType.NONE, **options) as writer:
        lens = channel(writer, LENS, TYPE, definition)
        others = [
            channel(writer, "/tags", "Tags", json.dumps({"type": "object"}), encoding="jsonschema", messages="json"),
            channel(writer, "/no_schema", None, ""),
            channel(writer, "/empty", "acme/msg/Thing", ""),
            channel(writer, "/nonsense", "acme/msg/Other", "int99 [[["),
            channel(writer, "/proto", "acme.Thing", "\x00\x01", encoding="protobuf", messages="protobuf"),
        ]
        for index in range(5):
            for key, data in [*((other, b"{}") for other in others), (lens, cdr(index))]:
                writer.add_message(key, START + index * STEP, data, START)
    assert indices(file) == (list(range(5)), "")
    with BagReader(file) as bag:
        assert bag.types == {LENS: TYPE, "/empty": "acme/msg/Thing", "/nonsense": "acme/msg/Other"}
        assert bag.counts[LENS] == bag.counts["/empty"] == 5
        for topic, words in (("/tags", "json, not cdr"), ("/no_schema", "without a type"), ("/proto", "protobuf, not")):
            with pytest.raises(InputError, match=words):
                bag.require(topic, TYPE)
        with pytest.raises(
            InputError, match=r"it has /empty, /lens/state, /nonsense, /no_schema \(without a type\), /pr"
        ):
            bag.require("/nowhere", TYPE)
        for topic, words in (("/empty", "is missing, and it is not a type"), ("/nonsense", "cannot be read")):
            with pytest.raises(InputError, match=words):
                bag.read(next(bag.messages([topic])))


def test_an_empty_definition_is_that_of_the_package_unless_the_hash_says_otherwise(tmp_path):
    known = STORE.hash_rihs01(TYPE)
    for text, found, refused in (("", known, False), ("\n", "", False), ("", f"{known[:-4]}0000", True)):
        file = tmp_path / "empty.mcap"
        with mcap_writer(file) as writer:
            key = channel(writer, LENS, TYPE, text, topic_type_hash=found)
            writer.add_message(key, START, cdr(0), START)
        if not refused:
            assert indices(file) == ([0], "")
            continue
        with pytest.raises(InputError, match="another version of it; record it again"):
            indices(file)


def test_definitions_in_idl_are_read(tmp_path):
    idl = f"{'=' * 80}\nIDL: acme/msg/Far\nmodule acme {{ module msg {{ struct Far {{ double metres; }}; }}; }};\n"
    near = "module acme { module msg { struct Near { acme::msg::Far far; long long count; }; }; };\n"
    file = tmp_path / "idl.mcap"
    with mcap_writer(file) as writer:
        text = f"{'=' * 80}\nIDL: acme/msg/Near\n{near}{idl}"
        key = channel(writer, "/near", "acme/msg/Near", text, encoding="ros2idl")
        data = b"\x00\x01\x00\x00" + np.float64(2.5).tobytes() + np.int64(7).tobytes()
        writer.add_message(key, START, data, START)
    with BagReader(file) as bag:
        message = bag.read(next(bag.messages(["/near"])))
    assert (message.far.metres, message.count) == (2.5, 7)


def humble(folder):
    """Make a database of today one of ROS 2 Humble: no definitions, no hashes, metadata of version 5."""
    with contextlib.closing(sqlite3.connect(storage_of(folder), isolation_level=None)) as database:
        database.executescript(
            "DROP TABLE message_definitions; ALTER TABLE topics DROP COLUMN type_description_hash;"
            "UPDATE schema SET schema_version = 3, ros_distro = 'humble'; VACUUM;"
        )
    content = yaml.safe_load((folder / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    content["version"] = 5
    for name in ("custom_data", "ros_distro"):
        content.pop(name, None)
    for topic in content["topics_with_message_count"]:
        topic["topic_metadata"].pop("type_description_hash", None)
        topic["topic_metadata"]["offered_qos_profiles"] = ""
    (folder / "metadata.yaml").write_text(yaml.safe_dump({"rosbag2_bagfile_information": content}))


def foxy(folder):
    humble(folder)
    with contextlib.closing(sqlite3.connect(storage_of(folder), isolation_level=None)) as database:
        database.executescript(
            "DROP TABLE schema; DROP TABLE metadata; ALTER TABLE topics DROP COLUMN offered_qos_profiles;"
        )


@pytest.mark.parametrize("older", [humble, foxy, lambda folder: None])
@pytest.mark.parametrize("compression", [CompressionMode.NONE, CompressionMode.MESSAGE])
def test_databases_of_every_distribution(tmp_path, older, compression):
    write(tmp_path / "bag", range(30), SQLITE, compression)
    older(tmp_path / "bag")
    assert indices(tmp_path / "bag") == (list(range(30)), "")


@pytest.mark.parametrize("storage", [MCAP, SQLITE])
@pytest.mark.parametrize("compression", [CompressionMode.FILE, CompressionMode.MESSAGE])
def test_compressed_by_file_and_by_message_with_metadata_and_without(tmp_path, storage, compression):
    write(tmp_path / "bag", range(30), storage, compression)
    assert indices(tmp_path / "bag") == (list(range(30)), "")
    (tmp_path / "bag" / "metadata.yaml").unlink()
    assert indices(tmp_path / "bag") == (list(range(30)), "")
    if compression is CompressionMode.FILE:  # and by a recorder that was killed while it compressed
        file = storage_of(tmp_path / "bag")
        file.with_suffix("").write_bytes(zstd.decompress(file.read_bytes()))
        file.write_bytes(file.read_bytes()[:1000])
        assert indices(tmp_path / "bag") == (list(range(30)), "")


@pytest.mark.parametrize("index", ["index", "no index"])
@pytest.mark.parametrize("compression", [CompressionType.NONE, CompressionType.ZSTD, CompressionType.LZ4])
def test_only_what_is_in_a_damaged_chunk_is_lost(tmp_path, compression, index):
    file = tmp_path / "damaged.mcap"
    with mcap_writer(file, compression=compression, chunk_size=20_000) as writer:
        key = channel(writer, LENS, TYPE, STORE.generate_msgdef(TYPE, ros_version=2)[0])
        for number in range(200):
            noise = np.random.default_rng(number).bytes(1000).hex()  # so that compression leaves something
            fields = state(number) | {"backend": noise}
            data = bytes(STORE.serialize_cdr(build_message(STORE, TYPE, fields), TYPE))
            writer.add_message(key, START + number * STEP, data, START)
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 600] = bytes(600)
    file.write_bytes(content if index == "index" else content[:-40])
    read, damage = indices(file)
    lost = sorted(set(range(200)) - set(read))
    assert read == sorted(read) and 1 <= len(lost) <= 12 and lost == list(range(lost[0], lost[-1] + 1))
    assert damage.startswith("damaged (") and "cannot be read" in damage
    if index == "index":
        seconds = float(damage.split(" from ")[1].split(" s")[0])
        assert lost[0] * 0.01 - 0.1 <= seconds <= lost[0] * 0.01 + 0.05


def test_messages_that_do_not_match_their_definition_are_left_out_and_counted(tmp_path):
    file = tmp_path / "bag.mcap"
    with mcap_writer(file) as writer:
        key = channel(writer, LENS, TYPE, STORE.generate_msgdef(TYPE, ros_version=2)[0])
        for index in range(4):
            writer.add_message(key, START + index * STEP, cdr(index) if index != 2 else b"\x00\x01", START)
    with BagReader(file) as bag:
        read = []
        for message in bag.messages([LENS]):
            try:
                read.append(bag.read(message).focus_distance)
            except InputError as error:
                assert "does not match the definition" in str(error)
                bag.refuse(message, error)
        assert read == [0.0, 1.0, 3.0] and "messages that cannot be read: 1 on /lens/state" in bag.damage


@pytest.mark.parametrize("storage", [MCAP, SQLITE])
@pytest.mark.parametrize("compression", [CompressionMode.NONE, CompressionMode.FILE, CompressionMode.MESSAGE])
def test_no_damage_ends_in_a_traceback_or_loses_messages_without_a_word(tmp_path, storage, compression):
    write(tmp_path / "bag", range(60), storage, compression)
    file = storage_of(tmp_path / "bag")
    whole, rng = file.read_bytes(), np.random.default_rng(0)
    for trial in range(40):
        content = bytearray(whole)
        at, length = (int(rng.integers(len(whole))), int(rng.choice([1, 8, 3000])))
        match trial % 4:
            case 0:
                del content[at:]
            case 1:
                content[at : at + length] = bytes(min(length, len(whole) - at))
            case 2:
                content[at:at] = rng.bytes(length)
            case 3:
                content[at] ^= 1 << int(rng.integers(8))
        file.write_bytes(content)
        with contextlib.suppress(InputError), BagReader(file) as bag:
            count = 0
            for message in bag.messages([LENS]):
                count += 1
                try:
                    bag.read(message)
                except InputError as error:
                    bag.refuse(message, error)
            assert count <= 60 and (count == 60 or bag.damage or bag.unread or LENS not in bag.types)
