import json
import os
import struct
import sys
import sysconfig

base_executable = getattr(sys, "_base_executable", None) or sys.executable
verify = None
try:
    import ssl

    paths = ssl.get_default_verify_paths()
    verify = [paths.openssl_cafile, paths.openssl_capath]
except ImportError:
    pass
tcl = None
try:
    import _tkinter

    tcl = [_tkinter.TCL_VERSION, _tkinter.TK_VERSION]
except Exception:
    pass
print(
    json.dumps(
        {
            "executable": base_executable,
            "prefix": sys.base_prefix,
            "exec_prefix": sys.base_exec_prefix,
            "version": list(sys.version_info[:3]),
            "release": "%d.%d.%d" % sys.version_info[:3]
            + ("" if sys.version_info[3] == "final" else sys.version_info[3] + str(sys.version_info[4])),
            "implementation": sys.implementation.name,
            "stdlib": os.path.dirname(os.path.realpath(os.__file__)),
            "threads": "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else "",
            "platform": sysconfig.get_platform(),
            "bits": struct.calcsize("P") * 8,
            "verify": verify,
            "tcl": tcl,
        }
    )
)
