"""The ``gateway`` command: serve, check, routes, schema, demo, completion, and calls to a running gateway.

Exit status: 0 done, 1 refused or failed, 2 wrong use or wrong settings, 130 interrupted.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import importlib.util
import json
import os
import shlex
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Final

from gateway import __version__, versions
from gateway.cli import completion as cli_completion
from gateway.cli import health as cli_health
from gateway.cli import room as cli_room
from gateway.cli.parsing import CommandParser, Commands, complete_files
from gateway.settings.fields import Setting
from gateway.settings.model import TABLE, Settings, as_written
from gateway.settings.model import check as check_settings
from gateway.settings.profile import spring_lines, spring_reason
from gateway.settings.spring.environ import understood
from gateway.settings.warnings import RecordedEnviron, notes_of_names, warnings_of_names

if TYPE_CHECKING:
    from gateway.routing.spec.overlay import Properties


_TAKES_NOTHING: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG})


def main(argv: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Runs one command; ``argv`` is without the program's name. Returns the exit status."""
    _fill_descriptors()
    try:
        return _run(argv, environ)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of the output has closed it, for example ``head``.
        _give_up_output()
        return 1
    except OSError as error:
        # An error of standard output reaches the caller of print. It names no file, and nothing else is written here.
        if error.filename is not None or error.errno not in _TAKES_NOTHING:
            raise
        _give_up_output()
        print(f"gateway: what was to be printed could not be written: {error.strerror}", file=sys.stderr)
        return 1


def _run(argv: Sequence[str] | None, environ: Mapping[str, str]) -> int:
    parser = make_parser(environ)
    try:
        options = parser.parse_args(argv)  # which also prints the help
        if getattr(options, "run", None) is _serve:
            # A reload that is asked for during the start is none: the files are still to be read. By default the signal
            # would end the process until the event loop runs.
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        if not hasattr(options, "run"):
            parser.print_help(sys.stderr)
            return 2
        environ = understood(environ)
        # Before importing anything that may fail with another version of a library.
        if options.run in _NEED_LIBRARIES and not _libraries_fit(_EXTRAS.get(options.run, "")):
            return 1
        status: int = options.run(options, environ)
        return status
    finally:
        if sys.stdout is not None:  # the process was started without it
            sys.stdout.flush()


def _fill_descriptors() -> None:
    """Opens standard input, output and error if the process was started without them. Otherwise the first sockets would
    get their numbers, and libuv ends a process that closes one of these."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _give_up_output() -> None:
    """Redirects the output; otherwise Python would fail again when it flushes the output at the exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def make_parser(environ: Mapping[str, str] | None = None, *, files: object = None) -> argparse.ArgumentParser:
    """The parser of the whole command line; each command sets ``run(options, environ) -> int``. The help reads
    ``environ``.

    ``files`` is shtab's value for file names, if the parser is made for a shell's completion.
    """
    parser = argparse.ArgumentParser(
        prog="gateway", description="An API gateway with a virtual waiting room.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"gateway {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=CommandParser)

    _add_serve(commands, environ or {})
    _add_check_and_routes(commands, files)
    _add_demo(commands)
    cli_room.add_to(commands, files)
    cli_health.add_to(commands)
    _add_schema_and_completion(commands)
    return parser


def _add_serve(commands: Commands, environ: Mapping[str, str]) -> None:
    serve = commands.add_parser(
        "serve",
        help="run a gateway",
        description="Run a gateway until SIGTERM or Ctrl-C, set by the environment variables below.",
        epilog=describe_settings(environ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    serve.set_defaults(run=_serve)


def _add_check_and_routes(commands: Commands, files: object) -> None:
    check = commands.add_parser(
        "check",
        help="check a file of routes, and the settings",
        description="Print every fault of the settings and of the route file, each with its place and the rule it "
        "breaks. Without FILE, check the file that `gateway serve` would read. A warning names what is allowed but "
        "hardly meant.",
    )
    check.add_argument("--strict", action="store_true", help="fail (exit status 1) on a warning too")
    complete_files(check.add_argument("file", nargs="?", type=Path, metavar="FILE"), files)
    check.set_defaults(run=_check)

    routes = commands.add_parser(
        "routes",
        help="show the table of routes, or where one request would go",
        description="Show the table of routes that `gateway serve` would use.",
    )
    file = routes.add_argument("file", nargs="?", type=Path, metavar="FILE", help="another file than serve's")
    complete_files(file, files)
    # The metavar has no quotes, because shtab puts it into zsh's script unchanged.
    match_help = "explain what would happen to this request, such as 'POST /api/v1/reservations'"
    routes.add_argument("--match", metavar="REQUEST", help=match_help)
    routes.set_defaults(run=_routes)


def _add_demo(commands: Commands) -> None:
    demo = commands.add_parser(
        "demo",
        help="watch a crowd go through a real waiting room",
        description="Start a gateway, services and a crowd on this machine, and check the room's rules live.",
    )
    demo.add_argument("--people", type=_whole, default=120, metavar="N", help="how many come (120)")
    demo.add_argument("--capacity", type=_whole, default=20, metavar="N", help="how many fit in (20)")
    demo.add_argument("--seconds", type=_seconds, metavar="S", help="how long the crowd takes (45)")
    demo.add_argument("--seed", type=_whole, metavar="N", help="repeat the crowd of an earlier run")
    demo.add_argument("--no-crowd", action="store_true", help="an empty room, to be tried by hand")
    demo.add_argument("--stay", action="store_true", help="keep everything up after the crowd, until Ctrl-C")
    demo.set_defaults(run=_demo)


def _add_schema_and_completion(commands: Commands) -> None:
    schema = commands.add_parser(
        "schema",
        help="print the JSON Schema of route files, for editors",
        description="Print the JSON Schema of route files. An editor that knows it completes and explains the keys, "
        "and marks what is wrong, while you write.",
    )
    schema.set_defaults(run=_schema)

    completion = commands.add_parser(
        "completion",
        help="print a script for the completion of your shell",
        description="Print a script with which your shell completes the commands, options and files of `gateway`.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=cli_completion.HOW,
    )
    completion.add_argument("shell", choices=cli_completion.SHELLS, help="your shell")
    completion.set_defaults(run=_completion)


def describe_settings(environ: Mapping[str, str]) -> str:
    """All settings as text: name, default, what it does and what is allowed; and whether ``environ`` is a Spring
    environment."""
    spring = spring_lines(spring_reason(environ)) or ["Spring environment: off"]
    parts = [*(fill(line, 96) for line in spring), ""]
    parts += ["settings (environment variables, defaults in brackets):"]
    for group, rows in groupby(TABLE, key=lambda row: row.group):
        parts += ["", f"{group}:", *(_described(row) for row in rows)]
    return "\n".join(parts)


def _described(row: Setting) -> str:
    text = f"{row.doc.replace('`', '')} Allowed: {row.allowed}."
    if row.older:
        text += f" Also {', '.join(row.older)}."
    return f"  {row.name} [{row.default_text}]\n" + fill(
        text, 96, initial_indent=" " * 6, subsequent_indent=" " * 6
    )


def _libraries_fit(extra: str) -> bool:
    """Prints which libraries, including those of ``extra``, have a version that is not allowed. Returns whether the
    gateway works with them."""
    misfits = versions.misfits(extra)
    for misfit in misfits:
        print(misfit if misfit.fatal else f"warning: {misfit}", file=sys.stderr)
    return not any(misfit.fatal for misfit in misfits)


def _serve(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    if issues := check_settings(environ):
        for issue in issues:
            print(issue, file=sys.stderr)
        return 2
    from gateway.serve import serve  # noqa: PLC0415 - the other commands need no server

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(serve(Settings.from_env(environ), environ, own_process=True))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """uvloop if it is installed, else asyncio's own loop."""
    try:
        import uvloop  # noqa: PLC0415 - may be missing
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def _check(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    from gateway.composition import warnings as of  # noqa: PLC0415 - as below
    from gateway.routing import describe  # noqa: PLC0415 - the other commands need no routes

    view = understood(environ)
    if options.file:
        view = understood({**view.plain, "ROUTES_FILE": str(options.file)})
    for line in spring_lines(spring_reason(view)):
        print(line, file=sys.stderr)
    environ = view
    settings, wrong = _checked_settings(environ)
    file = options.file or _routes_file(environ)
    properties, away, fatal = _configured(environ) if settings and not options.file else (None, "", "")
    if fatal:
        print(f"{away}; `gateway serve` would {fatal}")
    # Variables that the file refers to have a meaning.
    recorded = RecordedEnviron(environ)
    issues, table = describe.check(file, recorded, properties)
    for issue in issues:
        print(issue)
    warnings: list[object] = []
    if away and not fatal:
        warnings.append(f"{away}; until it answers, `gateway serve` would use the file's routes alone")
    if settings is None:
        warnings += warnings_of_names(environ, recorded.names_read)
        warnings += table.warnings if table else ()
    else:
        warnings += of.warnings_of_settings(settings, environ, recorded.names_read)
        warnings += of.warnings_of_host(settings)
        all_routes = not (options.file or away)
        warnings += of.warnings_of_table(table, settings, all_routes=all_routes) if table else ()
        # A developer who checks a file on another machine need not have the environment of the gateway.
        if table and all_routes:
            warnings += of.warnings_of_keys(settings, environ, table)
    for warning in warnings:
        print(f"warning: {warning}")
    for note in notes_of_names(recorded, recorded.names_read):
        print(f"note: {note}")
    if wrong or table is None or issues or fatal:
        return 1
    source = f"{file} and the Config Server" if properties else file
    more = f", {_counted(len(warnings), 'warning')}" if warnings else ""
    print(f"{source}: {_counted(len(table.routes), 'route')}, no faults{more}")
    return 1 if warnings and options.strict else 0


def _checked_settings(environ: Mapping[str, str]) -> tuple[Settings | None, bool]:
    """The settings, and whether some are wrong; the wrong ones are printed."""
    from gateway.composition.warnings import (  # noqa: PLC0415 - the other commands need no Redis
        errors_of_operators,
        errors_of_settings,
    )

    if wrong := check_settings(environ):
        print(*wrong, sep="\n")
        return None, True
    settings = Settings.from_env(environ)
    wrong_together, wrong_operators = errors_of_settings(settings), errors_of_operators(settings)
    for each in wrong_together:
        print(f"{as_written(each, environ)}; `gateway serve` would not start")
    for issue in wrong_operators:
        print(issue)
    return settings, bool(wrong_together or wrong_operators)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"


def _routes(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    from gateway.routing import describe  # noqa: PLC0415 - as above

    properties = None
    # ``check`` reports wrong settings; this command does not.
    if not options.file and not check_settings(environ):
        properties, away, _ = _configured(environ)
        if away:
            print(away, file=sys.stderr)
    issues, table = describe.check(options.file or _routes_file(environ), environ, properties)
    if table is None:
        for issue in issues:
            print(issue, file=sys.stderr)
        return 1
    if options.match is None:
        print(describe.table(table))
        return 0
    method, blank, target = options.match.strip().partition(" ")
    if not blank:
        method, target = "GET", method
    print(describe.explain(table, method, target.strip()))
    return 0


def _configured(environ: Mapping[str, str]) -> tuple[Properties | None, str, str]:
    from gateway.cli.config_server import configured  # noqa: PLC0415 - as above

    return configured(environ)


def _schema(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    from gateway.routing.spec.schema import route_file_schema  # noqa: PLC0415 - as above

    print(json.dumps(route_file_schema(), ensure_ascii=False, indent=2))
    return 0


def _completion(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    print(cli_completion.script(make_parser, options.shell))
    return 0


def _demo(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    if importlib.util.find_spec("rich") is None:
        # The interpreter is named because there may be several.
        python = shlex.quote(sys.executable or "python3")
        print(
            "gateway demo needs rich, which is not installed; to install it: "
            f"{python} -m pip install 'waiting-room-gateway[demo]', or '.[demo]' in a checkout",
            file=sys.stderr,
        )
        return 1
    from gateway.demo.run import main as demo  # noqa: PLC0415 - as above

    return demo(options)


_NEED_LIBRARIES: Final = (_serve, _check, _routes, _schema, _completion, _demo)
_EXTRAS: Final = {_demo: "demo"}


def _routes_file(environ: Mapping[str, str]) -> Path:
    """The route file that ``serve`` would read. A wrong setting other than ``ROUTES_FILE`` does not matter here."""
    from gateway.routing.spec.loader import default_file  # noqa: PLC0415 - as above

    return Settings.from_env({"ROUTES_FILE": environ.get("ROUTES_FILE", "")}).routes_path(default_file())


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0 and below a day's seconds")
    return value
