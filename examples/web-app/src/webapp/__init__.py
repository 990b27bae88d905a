"""A page that greets, in Flask."""

import os
from pathlib import Path

from flask import Flask, render_template


def templates() -> Path:
    """The slot in a package, the project's directory in development."""
    workenv = os.environ.get("FLAVOR_WORKENV")
    return Path(workenv or Path(__file__).parents[2]) / "templates"


def create_app() -> Flask:
    app = Flask(__name__, template_folder=str(templates()))

    @app.get("/")
    @app.get("/<name>")
    def hello(name: str = "world") -> str:
        return render_template("hello.html", name=name)

    return app
