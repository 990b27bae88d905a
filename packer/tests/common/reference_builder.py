"""Builds a package with the reference's Python builder: python reference_builder.py MANIFEST LAUNCHER OUTPUT SEED.

The manifest is the one that the reference's other builders take, with `page_aligned` besides. Sources are given as they
are before any operation; the builder applies them.
"""

import json
import pathlib
import sys

from flavor.psp.format_2025.pspf_builder import PSPFBuilder

manifest, launcher, output, seed = sys.argv[1:]
spec = json.loads(pathlib.Path(manifest).read_text())
slots = spec.pop("slots")
page_aligned = spec.pop("page_aligned", True)
builder = PSPFBuilder.create().metadata(**spec).with_keys(seed=seed)
builder = builder.with_options(launcher_bin=pathlib.Path(launcher), page_aligned=page_aligned)
for slot in slots:
    optional = {key: slot[key] for key in ("lifecycle", "permissions", "purpose") if key in slot}
    source = (pathlib.Path(manifest).parent / slot["source"]).resolve()
    builder = builder.add_slot(slot["id"], source, operations=slot["operations"], target=slot["target"], **optional)
result = builder.build(output)
if not result.success:
    sys.exit("\n".join(result.errors))
