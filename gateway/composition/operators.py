"""``OPERATORS_FILE``: reads the operators from it, and follows its changes while the gateway runs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from gateway.auth.operators import MANAGEMENT, ROLES, Operator, Operators
from gateway.background import background_task
from gateway.routing.spec.document import BadDocument, Fields, Items, Node, Text, read_document
from gateway.routing.spec.issues import Issue, Issues, RouteFileError, summarize
from gateway.routing.spec.loader import content_of
from gateway.routing.watch import NEVER_SEEN, POLL_SECONDS, SETTLE_SECONDS, FileIdentity, identity_of

_NAME: Final = re.compile(r"\w(?:[\w .@+-]{0,62}[\w.])?")
_SHA256: Final = re.compile(r"[0-9a-fA-F]{64}")
_TWICE: Final = re.compile(r"(?<=^the key ).*(?= is there twice$)", re.DOTALL)
_KEYS: Final = ("name", "role", "sha256")
_SHAPE: Final = "write a list below 'operators', such as '- {name: anna, role: act, sha256: …}'"

log = logging.getLogger("gateway")


class OperatorsFileError(RouteFileError):
    """The file of operators can't be used. ``issues`` holds all its errors. None of them quotes a value: an operator
    may have written the token itself in place of its SHA-256."""

    code = "OPERATORS_FILE"


def read_operators(path: Path) -> tuple[Operator, ...]:
    """The operators that the file names. Raises OperatorsFileError."""
    try:
        return parse_operators(content_of(path), str(path))
    except RouteFileError as error:
        raise OperatorsFileError(error.issues) from None


def parse_operators(data: bytes, file: str) -> tuple[Operator, ...]:
    """The operators in the content of a file, which ``file`` names in errors. Raises OperatorsFileError."""
    issues = Issues(file)
    operators: list[Operator] = []
    try:
        root = read_document(data, {}, section="operators")
    except BadDocument as error:
        # The message may quote a key, in whose place an operator may have written the token.
        issues.add(error.line, "yaml", _TWICE.sub("…", error.message))
        raise OperatorsFileError(issues.sorted_errors()) from None
    entries = root.entries.get("operators") if root is not None else None
    if root is not None:
        for key in root.entries.keys() - {"operators"}:
            issues.add(root.lines.get(key, 1), "key", "the file may have no other key than 'operators'")
    if isinstance(entries, Items):
        for entry in entries.items:
            operator = _read_entry(entry, operators, issues)
            if operator is not None:
                operators.append(operator)
    else:
        issues.add(1 if entries is None else entries.line, "shape", _SHAPE)
    if issues.errors:
        raise OperatorsFileError(issues.sorted_errors())
    return tuple(operators)


def _read_entry(entry: Node, before: list[Operator], issues: Issues) -> Operator | None:
    if not isinstance(entry, Fields):
        issues.add(entry.line, "shape", _SHAPE)
        return None
    for key in entry.entries.keys() - set(_KEYS):
        issues.add(
            entry.lines.get(key, entry.line), "key", "an operator has name, role and sha256, and no other key"
        )
    name, role, digest = (_text(entry, key, issues) for key in _KEYS)
    line = entry.line
    if name is not None and not _NAME.fullmatch(name.value):
        issues.add(name.line, "name", "a name has up to 64 letters, digits, blanks and ._@+-")
    elif name is not None and name.value == MANAGEMENT:
        issues.add(name.line, "name", f"the name {MANAGEMENT} is that of MANAGEMENT_TOKEN; take another one")
    elif name is not None and any(name.value == other.name for other in before):
        issues.add(name.line, "name", f"the name {name.value} is there twice")
    known_role = next((each for each in ROLES if role is not None and role.value == each), None)
    if role is not None and known_role is None:
        issues.add(role.line, "role", "a role is watch or act")
    if digest is not None and not _SHA256.fullmatch(digest.value):
        hint = "; put it in quotes" if digest.kind != "str" else ""
        issues.add(digest.line, "sha256", f"the SHA-256 of a token has 64 hexadecimal digits{hint}")
        return None
    if name is None or known_role is None or digest is None:
        return None
    operator = Operator(name.value, known_role, bytes.fromhex(digest.value))
    if any(operator.sha256 == other.sha256 for other in before):
        issues.add(line, "sha256", "two operators have the same token, so changes could not be told apart")
    return operator


def _text(entry: Fields, key: str, issues: Issues) -> Text | None:
    node = entry.entries.get(key)
    if isinstance(node, Text) and not node.null:
        return node
    issues.add(entry.line if node is None else node.line, key, f"an operator needs a {key}")
    return None


class OperatorsFile:
    """Keeps ``operators`` as the file names them. A file with errors changes nothing."""

    def __init__(
        self,
        path: Path,
        operators: Operators,
        *,
        poll_seconds: float = POLL_SECONDS,
        settle_seconds: float = SETTLE_SECONDS,
    ) -> None:
        self.issues: tuple[str, ...] = ()
        """Why the present file is not in force."""
        self._path = path
        self._operators = operators
        self._poll_seconds = poll_seconds
        self._settle_seconds = settle_seconds
        self._seen: FileIdentity | None = NEVER_SEEN
        self._wanted = asyncio.Event()

    def reload(self) -> None:
        """Reads the file as soon as possible, even if it looks unchanged. For SIGHUP."""
        self._wanted.set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Reads the file and then follows its changes until the block ends. Raises OperatorsFileError if the file has
        errors at the start."""
        seen = identity_of(self._path)
        self._operators.named = await asyncio.to_thread(read_operators, self._path)
        self._seen = seen
        self._log()
        async with background_task(self._watch(), "operators-file"):
            yield

    async def _watch(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll_seconds):
                    await self._wanted.wait()
            seen = identity_of(self._path)
            if seen == self._seen and not self._wanted.is_set():
                continue
            # A file that is still being written could be a valid but incomplete one.
            await asyncio.sleep(self._settle_seconds)
            if identity_of(self._path) == seen:
                self._wanted.clear()
                self._seen = seen
                await self._take_over()

    async def _take_over(self) -> None:
        try:
            named = await asyncio.to_thread(read_operators, self._path)
        except OperatorsFileError as error:
            self._refuse(error.issues)
        except Exception:
            log.exception("the file of operators could not be read")
            self._refuse(
                (Issue(str(self._path), 1, None, "internal", "a fault of the gateway; see its log"),)
            )
        else:
            changed = named != self._operators.named or self.issues
            self._operators.named, self.issues = named, ()
            if changed:
                self._log()

    def _refuse(self, issues: tuple[Issue, ...]) -> None:
        self.issues = summarize(issues)
        log.error("not taken over, so the operators stay as they were: %s", "; ".join(self.issues))

    def _log(self) -> None:
        count = len(self._operators.named)
        acting = sum(operator.role == "act" for operator in self._operators.named)
        log.info("%d operator%s from %s, %d may act", count, "" if count == 1 else "s", self._path, acting)
