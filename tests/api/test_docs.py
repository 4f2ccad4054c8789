"""``/v3/api-docs`` and ``/swagger-ui.html`` as they are served."""

from __future__ import annotations

import asyncio
import gzip
import sys

import pytest
import yaml

from gateway.api.docs import service_documents
from gateway.pages.swagger_files import DISTRIBUTION, OWN, swagger_files
from gateway.routing.spec.loader import default_file
from tests.support.gateway import Gateways
from tests.support.route_files import load

ROUTES = """
routes:
  - {id: a, uri: "lb://a", predicates: ["Path=/a-service/v3/api-docs/**"], filters: [StripPrefix=1]}
  - {id: b, uri: "lb://b", predicates: ["Path=/b/c/v3/api-docs,/b/**"]}
  - {id: c, uri: "lb://c", predicates: ["Path=/{name}/v3/api-docs/**"]}
  - {id: own, uri: "%(service)s", predicates: ["Path=/v3/api-docs/**"]}
access:
  public: []
"""


PLAIN = {"Accept-Encoding": "identity"}


def test_every_service_of_the_shipped_routes_has_a_document() -> None:
    names = ("auth", "user", "product", "payment", "reservation", "reservation-seat", "arthall", "ticket")
    assert service_documents(load(default_file(), {})) == {
        f"{name}-service": f"/{name}-service/v3/api-docs" for name in names
    }


async def test_the_document_is_open_and_the_same_in_both_forms(gateways: Gateways) -> None:
    gateway = await gateways.start()
    as_json = await gateway.nobody("GET", "/v3/api-docs", headers=PLAIN)
    assert as_json.status == 200
    assert as_json.headers["Content-Type"] == "application/json"
    assert as_json.json["openapi"] == "3.1.0"
    as_yaml = await gateway.nobody("GET", "/v3/api-docs.yaml", headers=PLAIN)
    assert as_yaml.headers["Content-Type"] == "application/vnd.oai.openapi"
    assert yaml.safe_load(as_yaml.body) == as_json.json


async def test_with_a_management_port_the_docs_stay_and_tell_of_this_port(gateways: Gateways) -> None:
    gateway = await gateways.start(management_server_port=0)
    paths = (await gateway.nobody("GET", "/v3/api-docs", headers=PLAIN)).json["paths"]
    assert "/api/v1/queue/lineup" in paths
    assert not any(path.startswith("/actuator") for path in paths)
    assert (await gateway.nobody("GET", "/swagger-ui/index.html")).status == 200


async def test_the_list_has_a_document_for_each_route_that_names_one(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES, spring_application_name="front")
    config = (await gateway.nobody("GET", "/v3/api-docs/swagger-config")).json
    assert config["urls"] == [
        {"url": "/v3/api-docs", "name": "front"},
        {"url": "/a-service/v3/api-docs", "name": "a-service"},
        {"url": "/b/c/v3/api-docs", "name": "b/c"},
    ]


async def test_the_list_changes_with_the_routes(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES)
    gateway.routes_file.write_text(gateway.routes_file.read_text().replace("/a-service/", "/z-service/"))
    async with asyncio.timeout(15):
        while True:
            config = (await gateway.nobody("GET", "/v3/api-docs/swagger-config")).json
            if config["urls"][1]["name"] == "z-service":
                break
            await asyncio.sleep(0.05)


async def test_other_paths_below_api_docs_go_to_routes_and_are_not_open_by_themselves(
    gateways: Gateways,
) -> None:
    gateway = await gateways.start(ROUTES)
    answer = await gateway.user("alice")("GET", "/v3/api-docs/orders")
    assert answer.json["target"] == "/v3/api-docs/orders"
    assert (await gateway.nobody("GET", "/v3/api-docs/orders")).code == "TOKEN_REQUIRED"
    opened = await gateways.start(ROUTES.replace("public: []", "public: [GET /v3/api-docs/orders]"))
    assert (await opened.nobody("GET", "/v3/api-docs/orders")).json["target"] == "/v3/api-docs/orders"


async def test_the_old_address_leads_to_the_page(gateways: Gateways) -> None:
    gateway = await gateways.start()
    answer = await gateway.nobody("GET", "/swagger-ui.html")
    assert (answer.status, answer.headers["Location"]) == (302, "/swagger-ui/index.html")


def test_the_package_with_the_files_is_not_imported() -> None:
    swagger_files()
    assert not {"flask", "flask_swagger_ui"} & set(sys.modules)


@pytest.mark.parametrize("name", [*OWN, *DISTRIBUTION])
async def test_every_file_is_served_for_a_browser_that_keeps_it(gateways: Gateways, name: str) -> None:
    gateway = await gateways.start()
    plain = await gateway.nobody("GET", f"/swagger-ui/{name}", headers={"Accept-Encoding": "gzip;q=0"})
    assert plain.status == 200
    assert "Content-Encoding" not in plain.headers
    assert plain.headers["X-Content-Type-Options"] == "nosniff"
    policy = plain.headers["Content-Security-Policy"]
    assert "default-src 'none'; script-src 'self';" in policy
    zipped = await gateway.nobody("GET", f"/swagger-ui/{name}", headers={"Accept-Encoding": "br, gzip"})
    if name.endswith(".png"):
        assert zipped.body == plain.body
    else:
        assert plain.headers["Content-Type"].endswith("; charset=utf-8")
        assert gzip.decompress(zipped.body) == plain.body
    tag = plain.headers["ETag"]
    again = await gateway.nobody("GET", f"/swagger-ui/{name}", headers={"If-None-Match": f'"x", {tag}'})
    assert (again.status, again.body, again.headers["ETag"]) == (304, b"", tag)
    head = await gateway.nobody("HEAD", f"/swagger-ui/{name}", headers={"Accept-Encoding": "identity"})
    assert head.headers["Content-Length"] == str(len(plain.body))


@pytest.mark.parametrize("page", ["index.html", "oauth2-redirect.html"])
async def test_pages_have_no_script_of_their_own_and_load_nothing_from_elsewhere(
    gateways: Gateways, page: str
) -> None:
    gateway = await gateways.start()
    text = (await gateway.nobody("GET", f"/swagger-ui/{page}", headers=PLAIN)).body.decode()
    assert "://" not in text
    assert text.count("<script") == text.count("<script src=") > 0


@pytest.mark.parametrize(
    "path",
    [
        "/swagger-ui/",
        "/swagger-ui/x.js",
        "/swagger-ui/swagger-ui.js",
        "/swagger-ui/openapi.yaml",
        "/swagger-ui/index.html/x",
        "/SWAGGER-UI/index.html",
        "/swagger-ui",
    ],
)
async def test_nothing_else_is_served_or_routed(gateways: Gateways, path: str) -> None:
    gateway = await gateways.start()
    answer = await gateway.nobody("GET", path)
    assert (answer.status, answer.code) == (404, "ROUTE_NOT_FOUND")


@pytest.mark.parametrize(
    "path", ["/swagger-ui/../setup.cfg", "/swagger-ui/%2e%2e/setup.cfg", "/swagger-ui/..%2fx"]
)
async def test_no_path_leads_out_of_the_list(gateways: Gateways, path: str) -> None:
    gateway = await gateways.start()
    host, port = gateway.base.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("path", ["/v3/api-docs", "/swagger-ui.html", "/swagger-ui/index.html"])
async def test_there_is_nothing_to_change_here(gateways: Gateways, path: str) -> None:
    gateway = await gateways.start()
    answer = await gateway.nobody("POST", path)
    assert (answer.code, answer.headers["Allow"]) == ("METHOD_NOT_ALLOWED", "GET, HEAD")
