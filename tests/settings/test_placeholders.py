"""Placeholders of a route file."""

from __future__ import annotations

import pytest

from gateway.settings.placeholders import fill

ENVIRON = {"SET": "value", "MY_NAME": "mine", "EMPTY": "", "MYNAME2": "two"}


@pytest.mark.parametrize(
    ("text", "filled", "unset"),
    [
        ("plain", "plain", ()),
        ("${SET}", "value", ()),
        ("a-${SET}-b", "a-value-b", ()),
        ("${SET:default}", "value", ()),
        ("${UNSET:default}", "default", ()),
        ("${UNSET:}", "", ()),
        ("${EMPTY:default}", "", ()),
        ("${UNSET:http://h:1}", "http://h:1", ()),
        ("${UNSET:${SET}}", "value", ()),
        ("${UNSET:${ALSO:x}}", "x", ()),
        ("${my.name}${my-name}${my_name}", "minemineminemine"[:12], ()),
        ("${my-name2}", "two", ()),
        ("${UNSET}", "${UNSET}", ("UNSET",)),
        ("${UNSET:${ALSO}}", "${ALSO}", ("ALSO",)),
        ("\\${SET}", "${SET}", ()),
        ("$\\{SET}", "$\\{SET}", ()),
        ("$${SET}", "$value", ()),
        ("$SET", "$SET", ()),
        ("${SET", "${SET", ()),
        ("${", "${", ()),
        ("${SET}${SET", "value${SET", ()),
    ],
)
def test_a_placeholder_is_filled_as_in_spring(text: str, filled: str, unset: tuple[str, ...]) -> None:
    assert fill(text, ENVIRON) == (filled, unset)


def test_defaults_within_defaults_end_somewhere() -> None:
    text = "${A:" * 30 + "x" + "}" * 30
    assert "x" in fill(text, {})[0]
