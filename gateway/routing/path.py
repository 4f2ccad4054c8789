"""Turns a request target into the one canonical path that routing, access rules, gates and forwarding all use.

A target that two servers could read differently is refused. Otherwise the gateway could check one reading while the
service serves another one. An accepted target has exactly one reading. Refused are:

* anything but ``/…`` or an absolute ``http(s)://`` target whose authority is the request's Host,
* bytes that a path may not hold raw (blanks, controls, non-ASCII, ``\\ < > " ` { }``), a fragment,
* ``;`` parameters, empty segments (``//``), segments made of dots only, and ``..;`` behind an escape,
* percent escapes that are malformed, not UTF-8 (overlong forms included), or that hide ``/``, ``\\``,
  a control character or a dot segment, also behind compatibility forms such as U+FF0F,
* dot segments and escapes with blanks or invisible characters between them (``.%E2%80%8B.``),
* paths of more than 500 segments,
* more than 30 combining marks in a row, and paths longer than a target once their compatibility forms are written out,
* a path which after decoding still holds an escape (``%252e``, ``%2573``, ``%25u002f``): a service that
  decodes twice would serve another path. A ``%25`` before anything else is an ordinary percent sign.

Each browser sends some of the characters ``| [ ] ^`` raw in paths. Such a path means the same as with these characters
percent-encoded, and is forwarded in that form. All other bytes are forwarded as sent.

The query is not interpreted. It may hold any bytes but blanks, control characters and ``#``, and is forwarded as sent.
A rule that needs a parameter reads it with ``gateway.query``.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

import regex

from gateway.errors import BadRequest
from gateway.routing.path_readings import is_plain, strip_invisible
from gateway.server.framing import has_too_many_segments

MAX_TARGET: Final = 8192
"""The longest accepted target, in characters. It also limits the texts that configured regexes are matched with."""

# This one match accepts the plain targets that make up nearly all traffic: segments that start with at most one dot and
# hold nothing that needs decoding, and any query.
_PLAIN = re.compile(
    r"((?:/\.?[A-Za-z0-9_~:@!$&'()*+,=-][A-Za-z0-9._~:@!$&'()*+,=-]*)+/?|/)"
    r"(?:\?([^\x00-\x20#\x7f]*))?"
)
_PATH_BYTES = re.compile(r"[A-Za-z0-9._~:@!$&'()*+,;=/%|^\[\]-]*")
_ENCODED_HERE = {ord(raw): f"%{ord(raw):02X}" for raw in "|^[]"}
_NOT_IN_QUERY = re.compile(r"[\x00-\x20#\x7f]")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_STILL_ENCODED = re.compile(r"%(?:[0-9A-Fa-f]{2}|[uU][0-9A-Fa-f]{4})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# More combining marks in a row than any language uses (UAX #15). Normalising sorts them, in quadratic time.
_TOO_MANY_MARKS = regex.compile(r"\p{M}{31}")
_DOTS = re.compile(r"\.+(?:;.*)?")
_AUTHORITY = re.compile(r"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")


class Target(NamedTuple):
    """An unambiguous request target. A tuple for speed, because one is made for each request.

    ``path`` is decoded once; rules compare it. ``raw_path`` is the path for the service: as sent, but with the
    characters encoded that only browsers send raw. ``raw_query`` (without ``?``, empty if there is none) is exactly as
    sent.
    """

    path: str
    raw_path: str
    raw_query: str
    has_query: bool


def is_authority(text: str) -> bool:
    """Whether ``text`` is a valid ``Host``: a name or an address in its usual form, with or without a port."""
    return _AUTHORITY.fullmatch(text) is not None


def parse_target(raw: str, host: str | None = None) -> Target:
    """Return the target of a request line. Raises BadRequest, whose reason holds no client data.

    ``host`` is the value of the request's Host header. Without it, the absolute form is refused.
    """
    if len(raw) > MAX_TARGET:
        raise BadRequest("the request target is too long")
    if has_too_many_segments(raw):
        raise BadRequest("the path has too many segments")
    plain = _PLAIN.fullmatch(raw)
    if plain is not None:
        path, query = plain.groups()
        return Target(path, path, query or "", query is not None)
    if not raw.startswith("/"):
        raw = _origin_form(raw, host)
    raw_path, mark, raw_query = raw.partition("?")
    if _NOT_IN_QUERY.search(raw_query):
        raise BadRequest("the query holds a blank, a control character or a fragment")
    return Target(_canonical(raw_path), raw_path.translate(_ENCODED_HERE), raw_query, bool(mark))


def _origin_form(raw: str, host: str | None) -> str:
    """Reduce ``http://authority/path`` to ``/path`` if the authority is the host in the Host header."""
    scheme, separator, rest = raw.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in ("http", "https"):
        raise BadRequest("the request target must begin with a slash")
    end = min((at for at in map(rest.find, "/?#") if at >= 0), default=len(rest))
    authority, tail = rest[:end], rest[end:]
    if not is_authority(authority):
        raise BadRequest("the authority of the request target is malformed")
    if host is None or _authority(authority, scheme) != _authority(host, scheme):
        raise BadRequest("the request target and Host name different hosts")
    return tail if tail.startswith("/") else "/" + tail


def _authority(text: str, scheme: str) -> str:
    return text.lower().removesuffix(":443" if scheme == "https" else ":80")


def _canonical(raw_path: str) -> str:
    """Decode a path once. Raises BadRequest for a path with a second reading."""
    if _PATH_BYTES.fullmatch(raw_path) is None:
        raise BadRequest("the path holds a character that must be percent-encoded")
    if ";" in raw_path:
        raise BadRequest("the path holds parameters")
    if _BAD_ESCAPE.search(raw_path):
        raise BadRequest("the path holds a malformed percent escape")
    try:
        path = unquote_to_bytes(raw_path).decode("utf-8")
    except UnicodeDecodeError:
        raise BadRequest("the path is not UTF-8") from None
    if path.count("/") != raw_path.count("/"):
        raise BadRequest("the path holds an encoded slash")
    if _STILL_ENCODED.search(path):
        raise BadRequest("the path is encoded twice")
    _check_structure(path)
    folded = path
    if not path.isascii():
        if _TOO_MANY_MARKS.search(path):
            raise BadRequest("the path holds too many marks in a row")
        # A service that normalises compatibility forms would see the separators and dots hidden in them.
        folded = unicodedata.normalize("NFKC", path)
        if len(folded) > MAX_TARGET:
            raise BadRequest("the path is too long once its compatibility forms are written out")
        if folded.count("/") != path.count("/"):
            raise BadRequest("the path holds an encoded slash")
        _check_structure(folded)
    if not is_plain(folded):
        # A service that ignores blanks or invisible characters would see the dots and escapes around them.
        shown = strip_invisible(folded)
        if _STILL_ENCODED.search(shown):
            raise BadRequest("the path is encoded twice")
        _check_dots(shown)
    return path


def _check_structure(path: str) -> None:
    if "\\" in path:
        raise BadRequest("the path holds a backslash")
    if _CONTROL.search(path):
        raise BadRequest("the path holds a control character")
    if "//" in path:
        raise BadRequest("the path holds an empty segment")
    _check_dots(path)


def _check_dots(path: str) -> None:
    if any(_DOTS.fullmatch(segment) for segment in path.split("/")):
        raise BadRequest("the path holds a dot segment")
