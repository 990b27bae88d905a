# Arguments: the tree to compile, the name to put in its place into the code objects, and a directory to leave out.
import sys

sys.path[:] = [entry for entry in sys.path if entry]

import compileall
import py_compile
import re
import warnings

warnings.simplefilter("ignore")
tree, label, without = sys.argv[1:]
compileall.compile_dir(
    tree,
    stripdir=tree,
    prependdir=label,
    optimize=0,
    quiet=2,
    force=True,
    workers=1,
    rx=re.compile("^" + re.escape(without) + "/") if without else None,
    invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
)
