"""The checks. Each returns something that JSON can hold, and raises when what it needs is not there."""

import importlib.util
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path


def surroundings(*_args):
    """Where this process lives."""
    import site

    return {
        "argv": sys.argv,
        "executable": sys.executable,
        "prefix": sys.prefix,
        "base_prefix": sys.base_prefix,
        "sys_path": sys.path,
        "user_site": bool(site.ENABLE_USER_SITE),
        "environ": dict(os.environ),
        "cwd": os.getcwd(),
    }


def restart(*args):
    """Replace this process the way that reloaders do: by `sys.executable` and `sys.argv`."""
    if "PROBE_RESTARTED" not in os.environ:
        os.environ["PROBE_RESTARTED"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.argv])
    return surroundings()


def command():
    """`sys.executable -c` sees the same world."""
    code = "import sys, rich, click, probe; print(sys.prefix, sys.executable, probe.__file__, sep='\\n')"
    return output([sys.executable, "-c", code]).splitlines()


def module():
    """`sys.executable -m rich` prints rich's demonstration."""
    return len(output([sys.executable, "-m", "rich"]))


def workers():
    """Workers of `multiprocessing` start afresh and import the app again."""
    import multiprocessing

    from probe.work import square

    with multiprocessing.get_context("spawn").Pool(2) as pool:
        return pool.map(square, range(8))


def openssl():
    """A whole TLS conversation in memory: anonymous, so that no certificate is needed."""
    import ssl

    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    for context in (server, client):
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("AECDH-AES256-SHA:@SECLEVEL=0")
    upwards, downwards = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = server.wrap_bio(upwards, downwards, server_side=True)
    there = client.wrap_bio(downwards, upwards)
    waiting = [there, here]
    for _ in range(20):
        for end in list(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                pass
    there.write(b"over TLS")
    places = ssl.get_default_verify_paths()
    return {"heard": here.read().decode(), "authorities": bool(places.cafile or places.capath)}


def sqlite():
    import sqlite3

    with sqlite3.connect(":memory:") as database:
        return database.execute("select 6 * 7").fetchone()[0]


def foreign_functions():
    import ctypes

    return ctypes.CDLL(None).getpid() == os.getpid()


def codecs():
    """Every codec of the standard library gives back what it was given."""
    import bz2
    import lzma
    import zlib

    data = os.urandom(1000) * 10
    return [codec.decompress(codec.compress(data)) == data for codec in (bz2, lzma, zlib)]


def installed():
    """What `importlib.metadata` knows."""
    from importlib import metadata

    entry_points = metadata.distribution("probe").entry_points
    return {
        "probe": metadata.version("probe"),
        "rich": metadata.version("rich"),
        "scripts": sorted(point.name for point in entry_points if point.group == "console_scripts"),
        "files": any(str(file) == "probe/data.txt" for file in metadata.files("probe")),
    }


def data():
    """A data file, read in both of the ways that `importlib.resources` has."""
    from importlib import resources

    resource = resources.files("probe").joinpath("data.txt")
    with resources.as_file(resource) as path:
        return [resource.read_text(encoding="utf-8"), path.read_text(encoding="utf-8")]


def scripts():
    """Other commands of the project are on PATH."""
    return output(["probe-admin", "one", "two words"])


def python_on_path():
    """`python` and `pip` of the package are not."""
    import shutil

    return [shutil.which(name) for name in ("python", "python3", "pip")]


def install():
    """pip puts a package, made on the spot, into this environment; a new process imports it."""
    with tempfile.TemporaryDirectory() as directory:
        wheel = Path(directory) / "latecomer-2.5-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            info = "latecomer-2.5.dist-info"
            archive.writestr("latecomer.py", "VALUE = 25\n")
            archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: latecomer\nVersion: 2.5\n")
            archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: probe\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr(f"{info}/RECORD", f"latecomer.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
        options = ["--quiet", "--no-index", "--no-cache-dir", "--disable-pip-version-check", "--root-user-action=ignore"]
        output([sys.executable, "-m", "pip", "install", *options, str(wheel)])
    return output([sys.executable, "-c", "import latecomer; print(latecomer.__file__)"]).strip()


def importable(*names):
    """Which of these modules can be imported here, and which in a child process."""
    code = "import importlib.util, sys; print(*(n for n in sys.argv[1:] if importlib.util.find_spec(n)))"
    return {
        "here": [name for name in names if importlib.util.find_spec(name)],
        "in_a_child": output([sys.executable, "-c", code, *names]).split(),
    }


def output(command):
    """What a command prints; an exception with its own words when it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    if done.returncode:
        raise RuntimeError(f"{command} exited with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout
