"""`probe CHECK [ARGS]...`: runs one check and prints what it found as JSON."""

import json
import sys

from probe import checks


def main():
    name, *args = sys.argv[1:]
    if name == "result":
        return {"none": None, "int": 7, "str": "no such thing", "object": object()}[args[0]]
    print(json.dumps(getattr(checks, name)(*args), sort_keys=True))


def admin():
    print("probe-admin", *sys.argv[1:])
