//! Python projects: interpreter, dependencies and project become three directory trees.
