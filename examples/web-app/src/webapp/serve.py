"""gunicorn over the application, with the options of gunicorn's own command."""

import sys

from gunicorn.app.wsgiapp import run


def main() -> None:
    sys.argv[1:] = ["webapp:create_app()", *sys.argv[1:]]
    run()
