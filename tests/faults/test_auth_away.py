"""The auth server away: when the gateways start, and later."""

from __future__ import annotations

import asyncio

from tests.faults.site import StartSite
from tests.support.tokens import jwks_uri, reserved_port, serving
from tests.support.waiting import eventually


async def test_gateways_start_without_keys_and_let_people_in_once_there_are_some(
    start_site: StartSite,
) -> None:
    sock = reserved_port()
    async with start_site(jwt_jwks_uri=jwks_uri(sock)) as site:
        person = site.person("person")
        for base in site.bases():
            # Whatever needs no token works.
            assert (await person.call("GET", "/api/v1/products/1", base=base)).status == 200
            refused = await person.lineup(base=base)
            assert (refused.status, refused.code) == (503, "AUTH_UNAVAILABLE")
            assert (await person.call("GET", "/actuator/health/readiness", base=base)).status == 200
        async with serving(site.issuer, sock=sock):

            async def admitted() -> bool:
                answers = [await person.status(base=base) for base in site.bases()]
                return {answer.status for answer in answers} == {404}

            # The first retries come within a quarter of a second, the later ones within five.
            await eventually(admitted, 8.0, "both gateways have keys")
            people = await site.crowd(8)
            await site.assert_truth(people)
        # Now away again: the keys stay, for tokens never seen before as well.
        more = await site.crowd(4, "later")
        assert not any(person.inside for person in more)
        forged = site.person("forger")
        forged.token = site.issuer.token("forger", headers={"kid": "never-heard-of"})
        answers = await asyncio.gather(*(forged.lineup(base=base) for base in site.bases()))
        assert {(answer.status, answer.code) for answer in answers} == {(503, "AUTH_UNAVAILABLE")}
        await site.assert_truth([*people, *more])
        await site.assert_gate(people)
        await site.assert_moves_on([*people, *more])


async def test_an_auth_server_that_hangs_holds_up_no_token_whose_key_is_known(start_site: StartSite) -> None:
    async with start_site() as site:
        people = await site.crowd(6)
        site.keys.answering.clear()
        forger = site.person("forger")
        forger.token = site.issuer.token("forger", headers={"kid": "never-heard-of"})
        waiting = asyncio.create_task(forger.lineup())
        await asyncio.wait_for(site.keys.arrived.wait(), 5)
        async with asyncio.timeout(3):
            await site.assert_truth(people)
            await site.assert_gate(people)
        site.keys.answering.set()
        assert (await waiting).code == "TOKEN_INVALID"
        await site.assert_moves_on(people)
