"""The slots of the package that this program was started from.

    import pspf

    weights = pspf.slot("models") / "weights.bin"

A slot with the lifecycle "lazy" is on disk once somebody has asked for it.
"""

import os
import pathlib
import subprocess

__all__ = ["SlotError", "slot"]


class SlotError(Exception):
    """A slot cannot be had. The text says why, and what to do about it."""


def slot(name):
    """The path of a slot, by its id or number; it is on disk and whole by then.

    Any number of threads and processes may ask at once: one extracts, the others wait. What is found is read-only
    and shared with other programs. Raises SlotError when there is no such slot, when the package was replaced since this
    program started, and outside of a package.
    """
    name = str(name)
    path = _known.get(name)
    if path is None or not path.exists():
        path = _known[name] = _ask(name)
    return path


def _ask(name):
    package = os.environ.get("PSPF_PACKAGE")
    if not package:
        raise SlotError("PSPF_PACKAGE is not set: this program was not started by its package")
    environment = dict(os.environ, FLAVOR_LAUNCHER_CLI="1")
    # The place that this program runs from, whatever has become of HOME since.
    if os.environ.get("FLAVOR_CACHE_DIR"):
        environment["PSPF_CACHE_DIR"] = os.environ["FLAVOR_CACHE_DIR"]
    try:
        process = subprocess.Popen(
            [package, "slot", name],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except OSError as error:
        raise SlotError("cannot ask the package for slot %r: %s" % (name, error)) from error
    answer, reason = process.communicate()
    if process.returncode != 0 or not answer.endswith(b"\n"):
        raise SlotError(reason.decode("utf-8", "replace").strip() or "the package does not answer for slot %r" % name)
    return pathlib.Path(os.fsdecode(answer[:-1]))


# No lock: a process that is forked while another thread holds one would wait for ever, and asking twice does no harm.
_known = {}
