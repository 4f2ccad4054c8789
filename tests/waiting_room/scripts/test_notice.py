"""notice: what operators tell all users of a room."""

from __future__ import annotations

import json

import pytest
import redis

from gateway.waiting_room.notices import MAX_LANGUAGES, parse_notice
from tests.waiting_room.rig import Rig


def tell(
    rig: Rig, language: str, text: str, all_texts: bool = False, by: str = "anna"
) -> tuple[int, dict[str, str]]:
    reply = rig.raw_room("notice", (rig.keys.audit,), language, text, int(all_texts), by, "why")
    assert parse_notice(reply.answers[0].encode()) == in_redis(rig)
    return reply.summary.notice_version, in_redis(rig)


def in_redis(rig: Rig) -> dict[str, str]:
    return json.loads(rig.client.hget(rig.keys.settings, "notice") or "{}")


def test_texts_stand_beside_each_other_until_they_are_taken_back(rig: Rig) -> None:
    assert rig.run("status", 0).summary.notice_version == 0
    versions = []
    for language, text, expected in (
        ("", "later", {"": "later"}),
        ("ko", "늦게", {"": "later", "ko": "늦게"}),
        ("", "now", {"": "now", "ko": "늦게"}),
        ("ko", "", {"": "now"}),
        ("ko", "", {"": "now"}),
    ):
        version, texts = tell(rig, language, text)
        versions.append(version)
        assert texts == expected
        assert rig.run("gate", "ann").summary.notice_version == version
    # Each change is seen, also several within a millisecond.
    assert versions == sorted(set(versions))
    assert tell(rig, "", "", all_texts=True)[1] == {}
    assert rig.client.hexists(rig.keys.settings, "notice") == 0
    assert rig.run("status", 0).summary.notice_version > versions[-1]


def test_a_text_may_replace_those_of_all_languages(rig: Rig) -> None:
    tell(rig, "ko", "늦게")
    tell(rig, "de", "später")
    assert tell(rig, "", "now", all_texts=True)[1] == {"": "now"}


def test_every_change_is_in_the_audit(rig: Rig) -> None:
    tell(rig, "", "later")
    tell(rig, "ko", "늦게")
    tell(rig, "", "", all_texts=True)
    entries = [fields for _, fields in rig.client.xrange(rig.keys.audit)]
    noted = [(each["by"], each["act"], each["setting"], each["from"], each["to"]) for each in entries]
    assert noted[:2] == [
        ("anna", "notice", "notice", "", "later"),
        ("anna", "notice", "notice.ko", "", "늦게"),
    ]
    assert sorted(noted[2:]) == [
        ("anna", "notice", "notice", "later", ""),
        ("anna", "notice", "notice.ko", "늦게", ""),
    ]


def test_there_are_only_so_many_languages(rig: Rig) -> None:
    for number in range(MAX_LANGUAGES):
        tell(rig, f"x{number}", "text")
    with pytest.raises(redis.ResponseError, match="BAD_ARGUMENT language"):
        tell(rig, "one-more", "text")
    assert len(in_redis(rig)) == MAX_LANGUAGES
    tell(rig, "x1", "other")


def test_without_an_operator_nothing_is_changed(rig: Rig) -> None:
    with pytest.raises(redis.ResponseError, match="BAD_ARGUMENT by"):
        tell(rig, "", "text", by="")
    assert in_redis(rig) == {}


@pytest.mark.parametrize("junk", ["", "x", "[1]", '{"ko": 3, "de": {"a": 1}}', "7"])
def test_what_another_program_wrote_there_does_not_matter(rig: Rig, junk: str) -> None:
    rig.client.hset(rig.keys.settings, "notice", junk)
    assert parse_notice(junk.encode()) == {}
    assert tell(rig, "", "text")[1] == {"": "text"}


def test_instances_are_told_to_read_it(rig: Rig) -> None:
    heard = rig.client.pubsub()
    heard.subscribe(rig.channel)
    heard.parse_response()
    tell(rig, "", "text")
    assert heard.parse_response()[2] == '{"event":"NOTICE"}'
    heard.close()
