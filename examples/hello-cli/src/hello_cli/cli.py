"""The command line: `hello-cli [ARGS]... [--exit N] [--json]`."""

import json
import os
import sys

import click
from rich.console import Console
from rich.table import Table

from hello_cli import facts


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
@click.option("--exit", "code", type=click.IntRange(0, 255), default=0, metavar="N", help="Exit with this code.")
@click.option("--json", "as_json", is_flag=True, help="Print a report for programs instead of the table.")
@click.version_option(package_name="hello-cli")
def main(args, code, as_json):
    """Say where this runs, repeat ARGS one per line, and exit as told."""
    if as_json:
        print(json.dumps(facts.for_programs(), indent=2, sort_keys=True))
    else:
        print_table()
        print_lines(args)
    sys.exit(code)


def print_table():
    table = Table(title=facts.greeting(), title_justify="left", show_header=False)
    table.add_column(style="bold")
    # A path that is wider than the terminal goes on in the next line instead of being cut.
    table.add_column(overflow="fold")
    for label, value in facts.for_people():
        table.add_row(label, value)
    Console().print(table)


def print_lines(args):
    """One argument per line, as the bytes that were typed: they need not be text in any encoding."""
    sys.stdout.flush()
    for arg in args:
        sys.stdout.buffer.write(os.fsencode(arg) + b"\n")
    sys.stdout.buffer.flush()
