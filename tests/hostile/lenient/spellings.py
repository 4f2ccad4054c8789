"""Other spellings of a call: what clients write and routers may overlook, alone and in pairs."""

from __future__ import annotations

from itertools import product

CALLS = ("/api/v1/reservations", "/api/v1/reservations/7/pay")
"""Both are gated, for POST."""

# What routers, frameworks and the languages they are written in strip, cut or fold.
_USUAL = (
    ".json .xml .txt .api .x .JSON . .. .%20 .json. %2ejson %20 %09 + %c2%a0 %e2%80%8b %ef%bb%bf %c2%ad %e2%81%a0 "
    "%ef%b8%8f %e2%80%8e %e3%85%a4 ; ;a=b %3b %3ba=b ;.json / // %3f %3fx %3fx/y %23 %23x /.json"
)
_ODD = (
    "%00 %0a %0d %0d%0a %1f %7f %85 %c2%85 %2f %5c \\ %5c. ? ?x=1 #x ! %21 ' %27 %22 * %2a ~ %7e , %2c & &x=1 %26 %25 "
    "%2500 %252e %2520 %253f %c0%ae %c0%af %c1%9c %e0%80%af %ff %u0020 %u002e : %3a ::$DATA $ = @ %40 | %7c %60 ^ ( ) "
    "[ %5b %7b %7d < %3c > %3e %cd%8f %f3%a0%80%a0 %e1%85%9f %e1%a0%8e %e2%80%a8 %e2%80%a9 %e3%80%80 %ef%bc%8f "
    "%ef%bc%8e %ef%bc%9f %ef%bc%83 %ef%bc%9b %e2%80%a4json %e2%80%a6 %ef%bc%8ejson .json/x/.. /. /.. /./ /x/.. ;/.. "
    ".json%00.html .%e2%80%8bjson .json%e2%80%8b %20.json .json%20 .json/ .json// .json;x .json%3fx .json%23 "
    ".json.xml .tar.gz /%20 /%e2%80%8b /; /%3b /index index.html ?.json %3f.json %3f%20 %23.json"
)
# The whole path in another form.
_FORMS = (
    lambda path: path.upper(),
    lambda path: path.title(),
    lambda path: path.replace("r", "%72"),
    lambda path: path.replace("/v1", "/%761"),
    lambda path: path.replace("/v1", "/v1%20"),
    lambda path: path.replace("/v1", "/v1;x"),
    lambda path: path.replace("/v1", "/v1.json"),
    lambda path: path.replace("/v1", "/v1%e2%80%8b"),
    lambda path: path.replace("/v1", "/v1/."),
    lambda path: path.replace("/v1", "/x/../v1"),
    lambda path: path.replace("/v1", "/x/.%20./v1"),
    lambda path: path.replace("/v1", "/x/.%e2%80%8b./v1"),
    lambda path: path.replace("/v1", "/x%2f..%2fv1"),
    lambda path: path.replace("/v1", "//v1"),
    lambda path: path.replace("/v1", "/%20/v1"),
    lambda path: path.replace("/v1", "\\v1"),
    lambda path: path.replace("/", "//"),
    lambda path: path.replace("/api", "/;/api"),
    lambda path: path.replace("/api", "/%20api"),
    lambda path: path.replace("/api", "/+api"),
    lambda path: path.replace("s", "%c5%bf", 1),
    lambda path: path.replace("i", "%c4%b0"),
    lambda path: path.replace("i", "%c4%b1"),
    lambda path: path.replace("e", "%ef%bd%85"),
    lambda path: path.replace("reser", "reser%c2%ad"),
    lambda path: path.replace("reser", "reser%e2%80%8d"),
    lambda path: path.replace("reservations", "reservations.json"),
    lambda path: path.replace("reservations", "reservations;v=1"),
    lambda path: path.replace("reservations", "reservations%20"),
    lambda path: path.replace("reservations", "%20reservations"),
    lambda path: path.replace("reservations", "reservations%3b"),
    lambda path: path.replace("reservations", "reservations%3f"),
    lambda path: path.replace("pay", "pay%20.json"),
    lambda path: path.replace("/7/", "/7.json/"),
    lambda path: path.replace("/7/", "/%20/"),
    lambda path: path.replace("/7/", "/7%2f8/"),
    lambda path: path.replace("/7/", "/7%3f/"),
    lambda path: path.replace("/7/", "/7;x/"),
)


def spellings(calls: tuple[str, ...] = CALLS) -> tuple[str, ...]:
    """Raw targets, every one once, in a fixed order."""
    usual = _USUAL.split()
    ends = ["", *usual, *_ODD.split(), *map("".join, product(usual, repeat=2))]
    found = [call + end for call in calls for end in ends]
    found += [
        form(call) + end for call in calls for form in _FORMS for end in ("", "/", ".json", "%20", ";x")
    ]
    return tuple(dict.fromkeys(found))
