"""What a program can find out about the process it runs in."""

import os
import platform
import sys
from importlib import metadata, resources
from pathlib import Path


def greeting():
    """The first line printed; a data file of this package."""
    return resources.files("hello_cli").joinpath("greeting.txt").read_text(encoding="utf-8").strip()


def for_people():
    """Pairs of label and value, in the order of the table."""
    return [
        ("version", metadata.version("hello-cli")),
        ("Python", f"{platform.python_implementation()} {platform.python_version()}"),
        ("platform", f"{platform.system()} {platform.machine()}"),
        ("runs from", str(Path(__file__).parent)),
        ("argv[0]", sys.argv[0]),
        ("started as", os.environ.get("PSPF_ARGV0", "(not packaged)")),
    ]


def for_programs():
    """Everything that `--json` prints."""
    return {
        "version": metadata.version("hello-cli"),
        "python_version": platform.python_version(),
        "argv": sys.argv,
        "executable": sys.executable,
        "prefix": sys.prefix,
        "base_prefix": sys.base_prefix,
        "sys_path": sys.path,
        "environ": dict(os.environ),
        "cwd": os.getcwd(),
    }
