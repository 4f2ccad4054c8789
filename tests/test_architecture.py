"""The directions of the house: who may import whom, which room owns which library, how long a module may be."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest

from gateway.proxy._aiohttp import PRIVATE as CLIENT_PARTS
from gateway.server._aiohttp import PRIVATE as SERVER_PARTS

ROOT = Path(__file__).parent.parent
LONGEST_MODULE = 600

# The lowest layer: what every package may use.
_BASE = {
    "background",
    "draw",
    "errors",
    "fair_places",
    "name_threads",
    "observability",
    "query",
    "resilience",
    "room_names",
    "server",
    "service_tls",
    "settings",
}
# Packages of the middle layer. Each knows the lowest one only, but for what DIRECTIONS says.
_PARTS = {"auth", "discovery", "proxy", "routing", "sse", "waiting_room"}

# Package (a folder or a module right below gateway/) → packages it may import; itself is always allowed.
DIRECTIONS: dict[str, set[str]] = {
    "__init__": set(),
    "__main__": {"cli"},
    # The command line: lazily everything that it runs.
    "cli": {"__init__", "auth", "composition", "demo", "discovery", "routing", "serve", "versions", *_BASE},
    "demo": {"app", "serve", *_BASE},
    "serve": {"app", "composition", "context", "middleware", "proxy", "systemd", *_BASE},
    "systemd": set(),
    "versions": set(),
    # The composition root, and what it is made of that knows several packages.
    "app": {
        "__init__",
        "forward_auth",
        "request_accounting",
        "api",
        "composition",
        "context",
        "fast_path",
        "middleware",
        "pages",
        *_PARTS,
        *_BASE,
    },
    "composition": {"__init__", "api", *_PARTS, *_BASE},
    # HTTP in, HTTP out.
    "forward_auth": {"api", "context", "middleware", *_PARTS, *_BASE},
    "fast_path": {"forward_auth", "request_accounting", "api", "context", "middleware", *_PARTS, *_BASE},
    "middleware": {"request_accounting", "api", "context", *_PARTS, *_BASE},
    "api": {"__init__", "request_accounting", "context", "pages", *_PARTS, *_BASE},
    "pages": set(),
    "request_accounting": {"context", *_PARTS, *_BASE},
    "context": {*_PARTS, *_BASE},
    # They know nothing of each other, with two exceptions: a Config Server's answer is sections of a route file, and
    # Eureka's instances are addresses for the load balancer.
    "auth": _BASE,
    "discovery": {"__init__", "proxy", "routing", *_BASE},
    "proxy": _BASE,
    # The looks of a room's page are part of a route file.
    "routing": {"pages", *_BASE},
    "sse": _BASE,
    "waiting_room": _BASE,
    # What the others stand on.
    "server": {"background"},
    "settings": {"errors"},
    "name_threads": set(),
    "observability": set(),
    "query": {"errors"},
    "room_names": set(),
    "service_tls": set(),
    "resilience": {"errors"},
    "background": set(),
    "draw": set(),
    "errors": set(),
    "fair_places": set(),
}

# Libraries that belong to one room, so that only that room knows what they do and how they fail.
OWNERS: dict[str, str] = {
    "redis": "waiting_room",
    "aiocron": "waiting_room",
    "jose": "auth",
    "re2": "routing",
    "regex": "routing",
    "jinja2": "pages",
    "segno": "pages",
    "opentelemetry": "observability",
    # Not installed but for the demo.
    "rich": "demo",
    "shtab": "cli",
}


@dataclass(frozen=True)
class Import:
    """``file`` (relative to the package) imports ``module`` (absolute, dotted) in ``line``."""

    file: Path
    line: int
    module: str
    name: str = ""
    """What is imported from it, if that is not the module itself."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}"


def modules(package: Path) -> list[Path]:
    """Every Python file of the package."""
    return sorted(package.rglob("*.py"))


def imports(package: Path) -> Iterator[Import]:
    """Every import in the package, also those inside functions and under ``TYPE_CHECKING``."""
    for path in modules(package):
        file = path.relative_to(package)
        # What a dot means here: the folder, counted from the package.
        folder = (package.name, *file.parts[:-1])
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                for name in node.names:
                    yield Import(file, node.lineno, name.name)
            elif isinstance(node, ast.ImportFrom):
                start = folder[: len(folder) - node.level + 1] if node.level else ()
                base = ".".join((*start, *filter(None, [node.module])))
                # ``from gateway import app`` imports gateway.app; a name that is no module does no harm.
                for name in node.names:
                    yield Import(
                        file, node.lineno, f"{base}.{name.name}" if base == package.name else base, name.name
                    )


def room_of(file: Path) -> str:
    """The folder right below the package, or the module there."""
    return file.parts[0].removesuffix(".py")


def wrong_directions(package: Path, directions: dict[str, set[str]]) -> list[str]:
    """Imports of rooms that the importing room may not know; rooms without a rule of their own know nobody."""
    names = {room_of(path.relative_to(package)) for path in modules(package)}
    return [
        str(one)
        for one in imports(package)
        if one.module.startswith(f"{package.name}.")
        and (target := one.module.split(".")[1]) in names
        and target not in {room_of(one.file), *directions.get(room_of(one.file), ())}
    ]


def strangers(package: Path, owners: dict[str, str]) -> list[str]:
    """Imports of a library outside the room that owns it."""
    return [
        str(one)
        for one in imports(package)
        if owners.get(one.module.split(".")[0], room_of(one.file)) != room_of(one.file)
    ]


def long_modules(package: Path, longest: int) -> list[str]:
    """Modules with more lines than that."""
    return [
        f"{path.relative_to(package)}: {lines} lines"
        for path in modules(package)
        if (lines := len(path.read_text().splitlines())) > longest
    ]


def test_imports_go_in_the_directions_of_the_house_only() -> None:
    assert wrong_directions(ROOT / "gateway", DIRECTIONS) == []


def test_each_library_stays_in_the_room_that_owns_it() -> None:
    assert strangers(ROOT / "gateway", OWNERS) == []


def test_every_room_has_a_rule() -> None:
    rooms = {room_of(path.relative_to(ROOT / "gateway")) for path in modules(ROOT / "gateway")}
    assert rooms == set(DIRECTIONS)


def test_every_folder_of_modules_is_a_package() -> None:
    """Otherwise setuptools leaves it out of the wheel, while a checkout works."""
    folders = {parent for path in modules(ROOT / "gateway") for parent in path.parents}
    inside = [folder for folder in folders if folder.is_relative_to(ROOT / "gateway")]
    assert [str(folder) for folder in inside if not (folder / "__init__.py").exists()] == []


def test_the_directions_have_no_circle() -> None:
    left = dict(DIRECTIONS)
    while done := [room for room, knows in left.items() if not knows & set(left)]:
        for room in done:
            del left[room]
    assert left == {}


def test_tests_open_asyncio_clients_of_redis_in_one_place() -> None:
    """A client with redis-py's own time limit makes cancelled tasks go on; see ``open_redis``."""
    allowed = {ROOT / "tests/support/redis_client.py", Path(__file__)}
    direct = re.compile(r"^from redis\.asyncio import Redis(?: as (\w+))?$", re.MULTILINE)
    found = []
    for path in set(modules(ROOT / "tests")) - allowed:
        text = path.read_text()
        names = {"redis.asyncio.Redis"} | {match[1] or "Redis" for match in direct.finditer(text)}
        found += [
            path.name for name in names if re.search(rf"(?<![.\w]){re.escape(name)}(\.from_url)?\(", text)
        ]
    assert found == []


TESTS_OF_SEVERAL_MODULES = {
    "api/test_schemathesis.py": "every call, from the OpenAPI document",
    "cli/test_running_a_sale.py": "a page of the docs",
    "demo/test_without_rich.py": "the demo without its extra",
    "routing/filters/test_filters.py": "each filter by its factory",
    "server/test_slow_clients.py": "every limit on slow clients",
    "settings/test_zero.py": "what 0 means in each setting",
    "test_architecture.py": "the packages",
    "test_contributing.py": "CONTRIBUTING.md",
    "test_except_clauses.py": "every except clause",
    "waiting_room/test_capacity.py": "the first rule of a room",
    "waiting_room/test_estimate.py": "the estimate, in scripts and in Python",
    "waiting_room/test_machine.py": "all scripts against the model",
    "waiting_room/test_machine_following.py": "all scripts against the model, beside an older system",
    "waiting_room/test_machine_neighbours.py": "all scripts of two neighbouring versions, side by side",
    "waiting_room/test_machine_opening.py": "opening times and pre-queues against a model",
}
"""Files that test no single module, and what they test. Besides these, a ``test_docs.py`` may be in any folder."""


def test_tests_of_a_module_are_found_by_its_name() -> None:
    lost = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        file = path.relative_to(ROOT / "tests")
        package = ROOT / "gateway" / file.parent
        # Other folders test the gateway as a whole, from outside; that of the fast path compares it with aiohttp.
        if not package.is_dir() or file.name == "test_docs.py" or file.parts[0] == "fast_path":
            continue
        names = {module.stem for module in package.rglob("*.py")} | {each.name for each in package.iterdir()}
        tested = file.stem.removeprefix("test_")
        if not any(tested == name or tested.startswith(f"{name}_") for name in names):
            lost.append(str(file))
    assert lost == sorted(TESTS_OF_SEVERAL_MODULES)


PRIVATE_PARTS = {"proxy/_aiohttp.py": CLIENT_PARTS, "server/_aiohttp.py": SERVER_PARTS}
"""The modules that may use private names of a library, and which."""
MOST_PRIVATE_PARTS = 20
_OF_NAMED_TUPLES = {"_replace", "_asdict", "_fields"}


def private_names(package: Path) -> list[str]:
    """Where a private name of another object is used: file, line and name. A module's own classes may know each other
    so, since their names are in the same module."""
    found = []
    for path in modules(package):
        tree = ast.parse(path.read_text())
        own = {
            node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and _is_own(node.value)
        }
        own |= {
            node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        found += [
            f"{path.relative_to(package)}:{node.lineno} {ast.unparse(node)}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and re.match("_[a-z]", node.attr)
            and not _is_own(node.value)
            and node.attr not in own | _OF_NAMED_TUPLES
        ]
    return found


def _is_own(value: ast.expr) -> bool:
    return isinstance(value, ast.Name) and value.id in ("self", "cls")


def inherited_private_names(package: Path) -> list[str]:
    """Private names that classes take from a library's class without defining them."""
    found = []
    for path in modules(package):
        name = ".".join((package.name, *path.relative_to(package).with_suffix("").parts))
        if path.name == "__main__.py" or "demo" in path.parts:
            continue
        for each in vars(import_module(name)).values():
            if not isinstance(each, type) or each.__module__ != name:
                continue
            strangers = [
                base for base in each.__mro__[1:] if base.__module__.split(".")[0] in PRIVATE_LIBRARIES
            ]
            if not strangers:
                continue
            tree = ast.parse(textwrap.dedent(inspect.getsource(each)))
            used = {
                node.attr
                for node in ast.walk(tree)
                if isinstance(node, ast.Attribute)
                and re.match("_[a-z]", node.attr)
                and _is_own_or_super(node.value)
            }
            theirs = {attr for base in strangers for attr in (*vars(base), *_set_in(base))}
            found += [f"{name}.{each.__name__}.{attr}" for attr in sorted(used & theirs)]
    return found


PRIVATE_LIBRARIES = {"aiohttp", "aiohttp_sse", "redis", "prometheus_client", "jose", "argparse"}


def _is_own_or_super(value: ast.expr) -> bool:
    return _is_own(value) or (
        isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "super"
    )


def _set_in(base: type) -> set[str]:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(base)))
    except (OSError, TypeError):
        return set()
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and _is_own(node.value)}


def test_private_names_of_libraries_are_used_in_their_modules_only() -> None:
    listed = {name for parts in PRIVATE_PARTS.values() for _, name in parts}
    assert len(listed) <= MOST_PRIVATE_PARTS
    outside = [
        use for use in private_names(ROOT / "gateway") if not use.startswith((*PRIVATE_PARTS, "demo/"))
    ]
    assert outside == [use for use in outside if use.endswith(" os._exit")]
    inherited = [use for use in inherited_private_names(ROOT / "gateway") if "._aiohttp." not in use]
    assert inherited == []


def circles(package: Path) -> list[list[str]]:
    """Modules that import each other, directly or by way of others, imports for types included."""
    names = {
        ".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__")
        for path in modules(package)
    }
    knows: dict[str, set[str]] = {name: set() for name in names}
    for one in imports(package):
        own = ".".join((package.name, *one.file.with_suffix("").parts)).removesuffix(".__init__")
        knows[own] |= {
            name for name in (one.module, f"{one.module}.{one.name}") if name in names and name != own
        }
    left = dict(knows)
    while done := [name for name, others in left.items() if not others & set(left)]:
        for name in done:
            del left[name]
    # What is left leads to a circle; only what a circle leads back to is in one.
    while extra := [name for name in left if not any(name in left[other] for other in left)]:
        for name in extra:
            del left[name]
    return [sorted(left)] if left else []


def clients_with_threads_of_the_loop(package: Path) -> list[str]:
    """Where an HTTP client is made that looks names up in the few threads of the event loop. Two names whose DNS server
    does not answer would hold up all lookups there, that of Redis among them."""
    found = []
    for path in sorted(package.rglob("*.py")):
        file = path.relative_to(package)
        # They are no gateways.
        if file.parts[0] in ("cli", "demo"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func).removeprefix("aiohttp.")
                needed = {"TCPConnector": "resolver", "ClientSession": "connector"}.get(name)
                if needed is not None and needed not in [each.arg for each in node.keywords]:
                    found.append(f"{file}:{node.lineno}")
    return found


def test_a_name_that_hangs_holds_up_no_lookup_of_another_one(tmp_path: Path) -> None:
    assert clients_with_threads_of_the_loop(ROOT / "gateway") == []
    (tmp_path / "bad.py").write_text("aiohttp.ClientSession()\nTCPConnector(limit=0)\n")
    assert clients_with_threads_of_the_loop(tmp_path) == ["bad.py:1", "bad.py:2"]


def test_no_modules_import_each_other() -> None:
    assert circles(ROOT / "gateway") == []


def test_no_module_is_two_things() -> None:
    assert long_modules(ROOT / "gateway", LONGEST_MODULE) == []


@pytest.fixture
def small_house(tmp_path: Path) -> Path:
    """A package of our shape in which everything is right."""
    package = tmp_path / "gateway"
    for room in ("web", "auth", "waiting_room"):
        (package / room / "inner").mkdir(parents=True)
    for name, text in {
        "__init__.py": "name = 1\n",
        "errors.py": "import os\n",
        "web/__init__.py": "from gateway.auth.tokens import verify\nfrom . import page\nfrom gateway import name\n",
        "web/page.py": "from ..auth import tokens\n",
        "auth/__init__.py": "",
        "auth/tokens.py": "from jose import jwt\nfrom gateway.errors import Bad\n",
        "waiting_room/inner/__init__.py": "",
        "waiting_room/inner/link.py": "import redis.asyncio\nfrom ...errors import Bad\nfrom .. import inner\n",
    }.items():
        (package / name).write_text(text)
    return package


SMALL_DIRECTIONS = {"web": {"auth", "waiting_room", "errors"}, "auth": {"errors"}, "waiting_room": {"errors"}}


def test_a_house_in_order_passes(small_house: Path) -> None:
    assert wrong_directions(small_house, SMALL_DIRECTIONS) == []
    assert strangers(small_house, OWNERS) == []
    assert long_modules(small_house, 3) == []


@pytest.mark.parametrize(
    ("file", "text", "module"),
    [
        ("auth/tokens.py", "import gateway.web\n", "gateway.web"),
        (
            "auth/tokens.py",
            "import gateway.waiting_room.inner.link as link\n",
            "gateway.waiting_room.inner.link",
        ),
        ("auth/tokens.py", "from gateway.web.page import x\n", "gateway.web.page"),
        ("auth/tokens.py", "from gateway import web\n", "gateway.web"),
        ("auth/tokens.py", "from .. import web\n", "gateway.web"),
        ("auth/tokens.py", "from ..web import page\n", "gateway.web"),
        ("waiting_room/inner/link.py", "from ...auth.tokens import x\n", "gateway.auth.tokens"),
        ("waiting_room/inner/link.py", "def f():\n    from gateway.web import page\n", "gateway.web"),
        ("errors.py", "if TYPE_CHECKING:\n    from gateway.auth import tokens\n", "gateway.auth"),
        ("newcomer.py", "import gateway.errors\n", "gateway.errors"),
    ],
)
def test_an_arrow_in_the_wrong_direction_is_found(
    file: str, text: str, module: str, small_house: Path
) -> None:
    (small_house / file).write_text(text)
    line = text.count("\n")
    assert wrong_directions(small_house, SMALL_DIRECTIONS) == [f"{file}:{line} imports {module}"]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("web/page.py", "from redis.asyncio import Redis\n"),
        ("web/page.py", "import redis\n"),
        ("auth/tokens.py", "def f():\n    import aiocron\n"),
        ("waiting_room/inner/link.py", "from jose import jwt\n"),
        ("errors.py", "from redis import RedisError\n"),
        ("web/page.py", "from rich.console import Console\n"),
    ],
)
def test_a_library_in_a_strange_room_is_found(file: str, text: str, small_house: Path) -> None:
    (small_house / file).write_text(text)
    assert [found.partition(":")[0] for found in strangers(small_house, OWNERS)] == [file]


def test_a_circle_is_found(small_house: Path) -> None:
    (small_house / "auth" / "keys.py").write_text("from .tokens import verify\n")
    (small_house / "auth" / "tokens.py").write_text("if TYPE_CHECKING:\n    from gateway.auth import keys\n")
    assert circles(small_house) == [["gateway.auth.keys", "gateway.auth.tokens"]]


def test_a_module_that_is_too_long_is_found(small_house: Path) -> None:
    (small_house / "errors.py").write_text("x = 1\n" * 4)
    assert long_modules(small_house, 3) == ["errors.py: 4 lines"]
