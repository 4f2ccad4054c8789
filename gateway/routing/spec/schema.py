"""The JSON Schema of route files, made from the model that the readers use.

The schema is for editors. It accepts every file that the loader accepts without a fault or warning, including other
spellings of keys, dotted keys and placeholders.
Only ``gateway check`` finds what a schema can't express (an address, a regex, a gated call that is public too).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

from gateway.routing.factories import FILTERS, PREDICATES
from gateway.routing.spec.arguments import Arg, Factory
from gateway.routing.spec.model import (
    FILE,
    SPRING,
    SPRING_GATEWAY,
    SPRING_SECTIONS,
    SPRING_TOP,
)
from gateway.routing.spec.shapes import (
    Definitions,
    Key,
    Keys,
    Listed,
    MapOf,
    Shape,
    Texts,
    TextsOr,
    Truth,
)
from gateway.routing.spec.value_types import TEXT, ValueType, any_case

Schema = dict[str, object]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_KINDS: Final[Mapping[str, Mapping[str, Factory[Any]]]] = {"predicates": PREDICATES, "filters": FILTERS}
_POSITIONS: Final = r"^\[?\d+\]?$"
_POSITION: Final = r"^_genkey_\d+$"
_ANY: Final[Schema] = {}
_TEXT: Final[Schema] = {"$ref": "#/$defs/text"}
_TEXTS: Final[Schema] = {"$ref": "#/$defs/texts"}
_VALUES: Final[Mapping[str, Schema]] = {
    "text": TEXT.schema(),
    "texts": {"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]},
    "numbered-texts": {"anyOf": [_TEXTS, {"type": "object"}]},
}
"""Definitions that many places refer to."""

# A name with a placeholder is not checked, because the placeholder may stand for any text.
_UNKNOWN_NAME: Final = r"^[^=]*\$\{"


def route_file_schema() -> Schema:
    """The whole schema, as plain Python values."""
    used: dict[str, Schema] = {}
    whole = _keys(FILE, used)
    properties = cast(dict[str, Schema], whole["properties"])
    patterns = cast(dict[str, Schema], whole["patternProperties"])
    properties[SPRING] = {
        "description": "Spring's own nesting.",
        **_below("cloud", _below("gateway", {"$ref": "#/$defs/spring-gateway"})),
    }
    patterns[_spelt([SPRING], dotted=True)] = _ANY
    properties.update((name, _ANY) for name in sorted(SPRING_TOP))
    return {
        "$schema": DIALECT,
        "title": "Routes of the waiting room gateway",
        **whole,
        "allOf": [_has_one_of(["routes", SPRING], dotted=True)],
        "dependentRequired": {name: [SPRING] for name in sorted(SPRING_TOP)},
        "$defs": dict(sorted({**_VALUES, **used, **_spring()}.items())),
    }


def _spring() -> dict[str, Schema]:
    """The definitions of Spring Cloud Gateway's keys, with and without ``server.webflux``."""
    sections = {key.spring: {"$ref": f"#/properties/{key.name}"} for key in SPRING_SECTIONS.values()}
    others = dict.fromkeys([_spelt(SPRING_GATEWAY), _spelt(sections, dotted=True)], _ANY)
    server = {"server": _below("webflux", {"$ref": "#/$defs/spring-webflux"}), "mvc": _ANY}
    found: dict[str, Schema] = {}
    for name, properties in (("spring-gateway", {**sections, **server}), ("spring-webflux", sections)):
        patterns = {**_other_spellings(properties, f"#/$defs/{name}"), _spelt(properties, dotted=True): _ANY}
        found[name] = {
            "properties": properties,
            "patternProperties": {**patterns, **others},
            "additionalProperties": False,
        }
    return found


def _below(name: str, schema: Schema) -> Schema:
    return {"properties": {name: schema}}


def _shape(shape: Shape, used: dict[str, Schema]) -> Schema:
    match shape:
        case ValueType():
            return _value(shape)
        case Truth():
            return {"type": "boolean"}
        case Texts():
            return _TEXTS
        case TextsOr(keys):
            return {"anyOf": [_TEXTS, _keys(keys, used)]}
        case Listed(items, numbered, null, alone):
            each = _shape(items, used)
            several = _list(each, numbered=numbered, null=null)
            return {"anyOf": [several, each]} if alone else several
        case MapOf(values, pattern):
            names = {"propertyNames": {"pattern": f"^(?:{pattern})$"}} if pattern else {}
            return {"type": ["object", "null"], **names, "additionalProperties": _shape(values, used)}
        case Definitions(what, expressions):
            return _definitions(what, expressions, used)
        case Keys():
            return _keys(shape, used)


def _value(of: ValueType[object]) -> Schema:
    return _TEXT if of is TEXT else of.schema()


def _list(items: Schema, *, numbered: bool = False, null: bool = False) -> Schema:
    types = ["array", *(["object"] if numbered else []), *(["null"] if null else [])]
    schema: Schema = {"type": types if len(types) > 1 else "array", "items": items}
    if numbered:
        schema |= {"patternProperties": {_POSITIONS: items}, "additionalProperties": False}
    return schema


def _keys(keys: Keys, used: dict[str, Schema]) -> Schema:
    """The schema of a mapping. All mappings except the file itself become definitions."""
    name = keys.title.removeprefix("a ").replace(" ", "-")
    properties = {key.name: _key(key, used) for key in keys}
    patterns = _other_spellings(properties, "#" if keys is FILE else f"#/$defs/{name}")
    if keys.dotted:
        patterns[_spelt(properties, dotted=True)] = _ANY
    types = ["object", *(["null"] if keys.null else []), *(["string"] if keys.shortcut else [])]
    schema: Schema = {"type": types if len(types) > 1 else "object", "properties": properties}
    schema["patternProperties"] = patterns
    if not keys.others:
        schema["additionalProperties"] = False
    if keys.shortcut:
        schema["pattern"] = keys.shortcut
    if keys is FILE:
        return schema
    required = [_has_one_of([key.name], dotted=keys.dotted) for key in keys if key.required]
    if required:
        schema["allOf"] = required
    used[name] = schema
    return {"$ref": f"#/$defs/{name}"}


def _key(key: Key, used: dict[str, Schema]) -> Schema:
    schema = _shape(key.holds, used)
    if key.required and isinstance(key.holds, Definitions):
        schema = {**schema, "minItems": 1, "not": {"type": "null"}}
    if key.missing:
        schema = {"anyOf": [schema, {"enum": list(key.missing)}]}
    return {"description": key.doc, **schema}


def _has_one_of(names: Iterable[str], *, dotted: bool) -> Schema:
    """The schema that requires at least one of the keys, in any spelling."""
    names = list(names)
    some = {"not": {"propertyNames": {"not": {"pattern": _spelt(names, dotted=dotted, whole=True)}}}}
    return {"anyOf": [{"not": {"type": "object"}}, *({"required": [name]} for name in names), some]}


def _other_spellings(properties: Iterable[str], place: str) -> dict[str, Schema]:
    """Patterns of each key's other spellings, with a reference to the key's schema in the properties of ``place``."""
    return {
        f"^(?!{name}$){_any_spelling(name)}$": {"$ref": f"{place}/properties/{name}"} for name in properties
    }


def _spelt(names: Iterable[str], *, dotted: bool = False, whole: bool = False) -> str:
    """A pattern of keys: the names themselves. ``dotted``: keys below them (``a.b``) instead. ``dotted`` and ``whole``:
    both."""
    end = r"(?:[.\[]|$)" if whole and dotted else r"[.\[]" if dotted else "$"
    return f"^(?:{'|'.join(map(_any_spelling, names))}){end}"


def _any_spelling(name: str) -> str:
    """A pattern of a name in any case, with or without hyphens and underscores, as in ``allowed-origins``."""
    with_hyphens = "".join(f"-{each}" if each.isupper() else each for each in name)
    return any_case(with_hyphens.replace("_", "-"), between="[-_]*")


def _definitions(what: str, expressions: bool, used: dict[str, Schema]) -> Schema:
    kinds = _KINDS[what]
    name = what.removesuffix("s")
    used.setdefault(f"{name}-name", {"enum": list(kinds), "description": f"The {name}."})
    shortcut = f"^(?:{'|'.join(kinds)})(?:=|$)|{_UNKNOWN_NAME}"
    if what == "predicates":
        shortcut = f"^(?:{'|'.join(kinds)})=|{_UNKNOWN_NAME}"
    title = f"{name}-of-the-locator" if expressions else name
    if title not in used:
        item: Schema = {
            "type": ["object", "string"],
            "pattern": shortcut,
            "properties": {
                "name": {
                    "anyOf": [{"$ref": f"#/$defs/{name}-name"}, {"type": "string", "pattern": _UNKNOWN_NAME}]
                },
                "args": {"type": ["object", "array", "null"]},
            },
            "patternProperties": {f"^(?!name$|args$)(?:{any_case('name')}|{any_case('args')})$": _ANY},
            "additionalProperties": False,
            "allOf": [_has_one_of(["name"], dotted=False)],
        }
        if not expressions:
            item["allOf"] = [
                _has_one_of(["name"], dotted=False),
                *(_arguments(kind) for kind in kinds.values()),
            ]
        used[title] = item
    # A single text is a list of shortcuts, separated by commas.
    items = _list({"$ref": f"#/$defs/{title}"}, numbered=True, null=True)
    return {**items, "type": [*cast(list[str], items["type"]), "string"], "pattern": shortcut}


def _arguments(kind: Factory[Any]) -> Schema:
    """The schema of ``args`` if the name is that of this kind."""
    properties = {arg.name: _argument(arg) for arg in kind.args}
    names = {name: properties[arg.name] for arg in kind.args for name in (arg.name, *arg.also)}
    patterns = {f"^(?!{name}$){_any_spelling(name)}$": schema for name, schema in names.items()}
    patterns |= {f"^{name}$": schema for name, schema in names.items() if name not in properties}
    patterns[_POSITION] = _ANY
    # A nested mapping, such as weight: {group: …}, stands for a dotted name.
    nested = dict.fromkeys(name.partition(".")[0] for name in names if "." in name)
    patterns |= {f"^{name}$": {"type": "object"} for name in nested}
    args: Schema = {
        "properties": properties,
        "patternProperties": patterns,
        "additionalProperties": False,
        "maxItems": len(kind.args) if not any(arg.gathers for arg in kind.args) else 1000,
    }
    return {
        "if": {"properties": {"name": {"const": kind.name}}, "required": ["name"]},
        "then": {"description": kind.doc, "properties": {"args": args}},
    }


def _argument(arg: Arg) -> Schema:
    if arg.gathers:
        return {"$ref": "#/$defs/numbered-texts"}
    if arg.listed:
        return _TEXTS
    # An empty text counts as no value.
    return _TEXT if arg.of is TEXT else {"anyOf": [_value(arg.of), {"enum": ["", None]}]}
