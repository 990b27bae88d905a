# Reads {"paths": [project, dependencies], "entries": [{"module": "a.b", "function": "c.d" or null}, ...]} from its argument
# and prints {"entries": [one verdict for each], "missing": [[module, file that imports it], ...]}. Nothing of the project
# is run: modules are found, and read.
import ast
import difflib
import importlib.machinery
import json
import os
import pkgutil
import sys

job = json.loads(sys.argv[1])
paths = list(job["paths"])
for base in job["paths"]:
    for name in sorted(os.listdir(base)):
        if name.endswith(".pth"):
            with open(os.path.join(base, name), errors="replace") as file:
                for line in file.read().splitlines():
                    extra = os.path.join(base, line.strip())
                    if line.strip() and not line.startswith(("#", "import ", "import\t")) and os.path.isdir(extra):
                        paths.append(extra)
importlib.machinery.PathFinder.invalidate_caches()
everywhere = paths + [path for path in sys.path if path]


def find(module):
    """The spec of a module; else what is missing, and what is there instead."""
    spec, location, seen = None, everywhere, []
    for part in module.split("."):
        seen.append(part)
        name = ".".join(seen)
        if len(seen) == 1 and name in sys.builtin_module_names:
            return importlib.machinery.BuiltinImporter.find_spec(name), None, []
        if location is None:
            return None, name, []
        spec = importlib.machinery.PathFinder.find_spec(name, location)
        if spec is None:
            there = [found.name for found in pkgutil.iter_modules(location if len(seen) > 1 else paths)]
            return None, name, there
        location = spec.submodule_search_locations and list(spec.submodule_search_locations)
    return spec, None, []


def names(body, into):
    """What the statements bind; None for a name when it is an undecorated coroutine function."""
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            into[node.name] = True
        elif isinstance(node, ast.AsyncFunctionDef):
            into[node.name] = True if node.decorator_list else None
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                into[(alias.asname or alias.name).split(".")[0]] = True
        else:
            for child in ast.walk(node):
                if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
                    into[child.id] = True
                elif isinstance(child, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
                    names([child], into)
    return into


def bound(spec):
    """The names that a module binds, or None when only running it could tell."""
    if not spec.origin or not spec.origin.endswith(".py"):
        return {} if spec.submodule_search_locations is not None and spec.origin is None else None
    with open(spec.origin, "rb") as file:
        source = file.read()
    found = names(ast.parse(source, spec.origin).body, {})
    dynamic = (b"globals()", b"exec(", b"sys.modules", b"vars()", b"setattr(")
    if "*" in found or "__getattr__" in found or any(word in source for word in dynamic):
        return None
    return found


def near(name, among):
    close = difflib.get_close_matches(name, sorted(among), 1, 0.5)
    return close[0] if close else None


def check(module, function):
    spec, missing, there = find(module)
    if missing:
        parent, _, last = missing.rpartition(".")
        what = f"there is no module {missing}"
        close = near(last, there)
        found = f"{parent or 'the project'} has {', '.join(sorted(there)[:12])}" if there else "nothing of that name"
        return {"what": what, "found": found, "near": close and (parent + "." if parent else "") + close + (":" + function if function else "")}
    if function is None:
        if spec.submodule_search_locations is not None:
            inner, missing, _ = find(module + ".__main__")
            if missing:
                return {"what": f"{module} is a package without a __main__ module, so it cannot be run", "found": "no " + module + "/__main__.py", "near": None}
        return {}
    try:
        found = bound(spec)
    except (SyntaxError, ValueError) as error:
        return {"what": f"the module {module} is not valid Python", "found": str(error), "near": None}
    first, _, rest = function.partition(".")
    if found is None:
        return {}
    if first in found:
        if found[first] is None and not rest:
            return {"what": f"{module}:{function} is a coroutine function, and nothing would await it", "found": "async def " + first, "near": None, "hint": "point to a function that calls asyncio.run"}
        return {}
    if spec.submodule_search_locations is not None:
        inner, missing, _ = find(f"{module}.{first}")
        if not missing:
            try:
                within = bound(inner)
            except (SyntaxError, ValueError):
                within = {}
            if not rest and within and within.get(first):
                return {"instead": f"{module}.{first}:{first}"}
            return {"what": f"{module}.{first} is a module, not a function", "found": f"the module {module}.{first}", "near": f"{module}.{first}"}
    public = [name for name in found if not name.startswith("__")]
    close = near(first, public)
    return {"what": f"the module {module} has no {first}", "found": ("it has " + ", ".join(sorted(public)[:12])) if public else "it has nothing", "near": close and f"{module}:{close}"}


def missing(base):
    """What the modules of the project import before anything else, and nobody brings."""
    found = {}
    for directory, below, files in os.walk(base):
        below[:] = sorted(name for name in below if name != "tests")
        for name in sorted(files):
            path = os.path.join(directory, name)
            if not name.endswith(".py") or name.startswith("test_") or name == "conftest.py":
                continue
            with open(path, "rb") as file:
                source = file.read()
            try:
                body = ast.parse(source, path).body
            except (SyntaxError, ValueError):
                continue
            for node in body:
                if isinstance(node, ast.Import):
                    modules = [alias.name for alias in node.names]
                else:
                    modules = [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
                for module in (module.split(".")[0] for module in modules):
                    known = getattr(sys, "stdlib_module_names", sys.builtin_module_names)
                    if module not in found and module not in known and module != "pspf" and find(module)[1]:
                        found[module] = os.path.relpath(path, base)
    return sorted(found.items())


print(json.dumps({
    "entries": [check(entry["module"], entry["function"]) for entry in job["entries"]],
    "missing": missing(job["paths"][0]),
}))
