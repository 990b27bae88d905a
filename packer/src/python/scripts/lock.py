# Reads {"locked": [[name, version or null], ...], "wanted": [requirement, ...], "environment": {marker: value}} from its argument
# and prints a line for each requirement that the locked versions do not satisfy.
import json
import re
import sys

try:
    from pip._vendor.packaging.requirements import Requirement
except ImportError:
    from packaging.requirements import Requirement


def plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()


job = json.loads(sys.argv[1])
locked = {}
for name, version in job["locked"]:
    locked.setdefault(plain(name), []).append(version)
for text in job["wanted"]:
    wanted = Requirement(text)
    if wanted.marker is not None and not wanted.marker.evaluate({"extra": "", **job["environment"]}):
        continue
    versions = locked.get(plain(wanted.name))
    if versions is None:
        print(f"it has no {wanted.name}")
    # A version that is not told is one of a directory or a repository.
    elif None not in versions and not any(wanted.specifier.contains(version, prereleases=True) for version in versions):
        print(f"it has {wanted.name} {versions[0]}, the manifest asks for {text}")
