"""The Helm chart and the plain manifests: read by Helm, kustomize and Kubernetes' schemas, and held against a gateway
that runs with what they set."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from gateway import __version__
from gateway.settings.model import TABLE, check
from tests.deploy.cluster import (
    PLAIN,
    Manifest,
    MountedConfigMap,
    container,
    management_of,
    manifests,
    only,
)
from tests.deploy.tools import BIN, DEPLOY, run, tool
from tests.support.gateway import a_service
from tests.support.gateway_process import gateway_process
from tests.support.pages import names, rows
from tests.support.waiting import eventually

CHART = DEPLOY / "helm"
HTTP_ROUTE = Path(__file__).with_name("http_route.schema.json")
OBJECTS = manifests((PLAIN / "gateway.yaml").read_text())
OWN = {"SERVER_PORT", "MANAGEMENT_SERVER_PORT", "ROUTES_FILE", "SHUTDOWN_GRACE_SECONDS"}
WITH_PASSWORDS = {
    "REDIS_URL",
    "SPRING_DATA_REDIS_URL",
    "SPRING_REDIS_URL",
    "SPRING_DATA_REDIS_PASSWORD",
    "SPRING_DATA_REDIS_SENTINEL_PASSWORD",
    "REDIS_PW",
    "SPRING_APPLICATION_JSON",
}
"""Settings, and names of the older system, whose values hold the password of Redis or may hold any secret."""
EVERYTHING = """
image: {digest: "sha256:%s", pullPolicy: Always}
imagePullSecrets: [{name: registry}]
secretName: other
settings: {ALLOWED_IN_MAX_CAPACITY: 1000000, OVERLOAD_LAG_MS: 0.5, PASS: true, TRUSTED_PROXIES: 10.42.0.0/16}
routesConfigMap: my-routes
drain: {endpointsSeconds: 10.5, graceSeconds: 60, marginSeconds: 2}
resources: {requests: {cpu: 500m, memory: 1Gi}, limits: {cpu: "2", memory: 2Gi}}
service: {type: LoadBalancer, port: 8000, annotations: {example.com/a: b}}
ingress:
  enabled: true
  className: nginx
  annotations: {example.com/c: d}
  hosts: [tickets.example.com, www.tickets.example.com]
  tls: [{hosts: [tickets.example.com], secretName: certificate}]
httpRoute:
  enabled: true
  annotations: {example.com/g: h}
  parentRefs:
    - {group: gateway.networking.k8s.io, kind: Gateway, name: public, namespace: infra, sectionName: https, port: 443}
    - {name: inside}
  hostnames: [tickets.example.com, "*.tickets.example.com"]
  timeouts: {request: 1h30m, backendRequest: 1h}
autoscaling: {enabled: true, minReplicas: 3, maxReplicas: 30, cpu: 0, streams: 12k}
podDisruptionBudget: {maxUnavailable: 25%%}
networkPolicy:
  clients: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ingress}}}]
  monitoring: []
  dns: {ports: [53, 5353]}
  redis: {ports: [6379, 26379], to: [{ipBlock: {cidr: 10.0.0.0/24}}]}
  services: [{namespaceSelector: {}}]
  egress: []
serviceMonitor: {enabled: true, interval: 5s, labels: {release: prometheus}, token: true}
podAnnotations: {example.com/e: f}
podLabels: {team: tickets}
nodeSelector: {disk: ssd}
tolerations: [{key: sale, operator: Exists, effect: NoSchedule}]
affinity: {nodeAffinity: {}}
priorityClassName: high
extraVolumes: [{name: certificate, secret: {secretName: certificate}}]
extraVolumeMounts: [{name: certificate, mountPath: /etc/gateway/tls, readOnly: true}]
""" % ("a" * 64)
CUT = """
replicas: 1
autoscaling: {enabled: false}
networkPolicy: {enabled: false}
settings: {SERVER_HOST: "::"}
"""

Render = Callable[..., dict[tuple[str, str], Manifest]]


@pytest.fixture
def render(tmp_path: Path) -> Render:
    """Renders the chart with values, given as YAML, as Helm does for an installation."""
    helm = tool("helm")

    def with_values(
        text: str = "", name: str = "waiting-room-gateway", namespace: str = "waiting-room"
    ) -> dict[tuple[str, str], Manifest]:
        values = tmp_path / "values.yaml"
        values.write_text(text)
        done = run(helm, "template", name, str(CHART), "--namespace", namespace, "-f", str(values))
        assert done.returncode == 0, done.stderr
        return manifests(done.stdout)

    return with_values


def valid(manifest: Manifest) -> None:
    """Fails unless Kubernetes takes the object, in the oldest version that the chart allows and in the newest that
    is known. The kinds of operators' own are not known."""
    validate = pytest.importorskip("kubernetes_validate")
    if manifest["kind"] == "ServiceMonitor":
        return
    if manifest["kind"] == "HTTPRoute":
        # The Gateway API is no part of Kubernetes: its own schema.
        validate.utils.jsonschema.validate(manifest, json.loads(HTTP_ROUTE.read_text()))
        return
    oldest = re.search(r"\d+\.\d+", yaml.safe_load((CHART / "Chart.yaml").read_text())["kubeVersion"])
    assert oldest
    for version in (oldest[0], validate.utils.latest_version()):
        validate.validate(manifest, version, strict=True)


def test_helm_finds_no_fault_in_the_chart() -> None:
    done = run(tool("helm"), "lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_plain_manifests_are_those_of_the_default_values(render: Render) -> None:
    """`make manifests` writes them."""
    assert render() == OBJECTS


def test_the_chart_has_the_version_of_the_gateway() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)
    assert container(only(OBJECTS, "Deployment"))["image"] == f"waiting-room-gateway:{__version__}"


@pytest.mark.parametrize("file", ["gateway.yaml", "redis.yaml", "namespace.yaml"])
def test_kubernetes_takes_the_plain_manifests(file: str) -> None:
    for each in manifests((PLAIN / file).read_text()).values():
        valid(each)


@pytest.mark.parametrize("values", [EVERYTHING, CUT], ids=["every value", "as little as possible"])
def test_kubernetes_takes_what_other_values_make(render: Render, values: str) -> None:
    for each in render(values, "shop").values():
        valid(each)
        assert each["metadata"]["name"] in {"my-routes"} or each["metadata"]["name"].startswith(
            "shop-waiting-room-gateway"
        )


@pytest.mark.parametrize("name", ["2026", "true", "1e3"])
def test_names_that_yaml_takes_for_something_else_stay_names(render: Render, name: str) -> None:
    values = (
        f'{{secretName: "{name}", routesConfigMap: "{name}", priorityClassName: "{name}", '
        f'ingress: {{enabled: true, className: "{name}", hosts: [a.example]}}, '
        f'httpRoute: {{enabled: true, parentRefs: [{{name: "{name}", sectionName: "{name}"}}]}}, '
        "serviceMonitor: {enabled: true, "
        "token: true}}"
    )
    for given in ("", values):
        objects = render(given, name, name)
        for each in objects.values():
            valid(each)
            assert each["metadata"]["namespace"] == name
    monitor = only(objects, "ServiceMonitor")["spec"]
    assert monitor["endpoints"][0]["authorization"]["credentials"]["name"] == name
    assert monitor["selector"]["matchLabels"]["app.kubernetes.io/instance"] == name


def test_a_fault_in_a_manifest_is_found() -> None:
    validate = pytest.importorskip("kubernetes_validate")
    wrong = json.loads(json.dumps(only(OBJECTS, "Deployment")))
    container(wrong)["readinesProbe"] = {}
    with pytest.raises(validate.ValidationError):
        valid(wrong)


def test_kustomize_puts_the_plain_manifests_together() -> None:
    done = run(tool("kubectl"), "kustomize", str(PLAIN))
    assert done.returncode == 0, done.stderr
    files = ("namespace.yaml", "redis.yaml", "gateway.yaml")
    # redis.yaml has anchors, and kustomize sorts what it writes: compared as objects.
    expected: dict[tuple[str, str], Manifest] = {}
    for file in files:
        expected |= manifests((PLAIN / file).read_text())
    assert manifests(done.stdout) == expected


def test_the_kustomization_of_the_docs_changes_image_settings_and_routes(tmp_path: Path) -> None:
    page = (DEPLOY.parent / "docs" / "how-to" / "deploy.md").read_text()
    found = re.search(r"```yaml\n(resources: \[\.\./kubernetes\].*?)```", page, re.DOTALL)
    assert found
    shutil.copytree(PLAIN, tmp_path / "kubernetes")
    own = tmp_path / "own"
    own.mkdir()
    (own / "kustomization.yaml").write_text(found[1])
    (own / "routes.yaml").write_text("routes: []\n")
    done = run(tool("kubectl"), "kustomize", str(own))
    assert done.returncode == 0, done.stderr
    objects = manifests(done.stdout)
    assert routes_of(objects) == "routes: []\n"
    assert settings_of(objects)["TRUSTED_PROXIES"] == "10.42.0.0/16"
    deployment = next(each for (kind, _), each in objects.items() if kind == "Deployment")
    assert container(deployment)["image"].startswith("registry.example.com/waiting-room-gateway:")
    (volume,) = deployment["spec"]["template"]["spec"]["volumes"]
    assert ("ConfigMap", volume["configMap"]["name"]) in objects


@pytest.mark.parametrize(
    "values",
    [
        "replica: 3",
        "replicas: 0",
        "settings: {REDIS_URL: redis://x}",
        "settings: {MANAGEMENT_TOKEN: x}",
        "settings: {SERVER_PORT: 80}",
        "settings: {SHUTDOWN_GRACE_SECONDS: 5}",
        "settings: {redis-url: x}",
        "settings: {PASS: [a]}",
        "drain: {marginSeconds: 1}",
        "drain: {endpointsSeconds: -1}",
        "autoscaling: {minReplicas: 1}",
        "autoscaling: {cpu: 0, streams: 0}",
        "ingress: {enabled: true}",
        "httpRoute: {enabled: true}",
        "httpRoute: {parentRefs: [{namespace: infra}]}",
        "httpRoute: {hostnames: [https://a.example]}",
        "httpRoute: {timeouts: {request: 5}}",
        "networkPolicy: {dns: {ports: []}}",
        "image: {digest: latest}",
        "drain: {endpointsSeconds: null}",
        "networkPolicy: {redis: {ports: []}}",
        "networkPolicy: {redis: {ports: null}}",
        "podLabels: {app.kubernetes.io/name: other}",
        "podDisruptionBudget: {maxUnavailable: 0}",
        "secretName: ''",
        "routes: ''",
    ],
)
def test_the_schema_refuses_values_that_are_wrong(tmp_path: Path, values: str) -> None:
    (tmp_path / "values.yaml").write_text(values)
    done = run(tool("helm"), "template", "x", str(CHART), "-f", str(tmp_path / "values.yaml"))
    assert done.returncode != 0
    assert "values don't meet the specifications of the schema" in done.stderr


def test_every_secret_of_the_settings_is_refused_as_a_value() -> None:
    """They belong into the Secret, and not into a ConfigMap or into Helm's record of the release."""
    secret = {name for row in TABLE if row.secret for name in (row.name, *row.older)}
    schema = json.loads((CHART / "values.schema.json").read_text())
    refused = set(schema["properties"]["settings"]["propertyNames"]["not"]["enum"])
    assert refused == secret | OWN | WITH_PASSWORDS
    page = (DEPLOY.parent / "docs" / "reference" / "settings.md").read_text()
    said = re.search(r"Secrets are (.*?), passwords", page, re.DOTALL)
    assert said
    older = {name for name in secret if name.startswith("SPRING_")}
    assert set(re.findall(r"`([A-Z_]+)`", said[1])) == secret - older


def test_every_value_has_a_place_in_the_schema_and_the_other_way_round() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert set(values) | {"global"} == set(schema["properties"])
    named = "image drain service ingress httpRoute autoscaling networkPolicy serviceMonitor"
    for name in named.split():
        assert set(values[name]) == set(schema["properties"][name]["properties"]), name


def settings_of(objects: dict[tuple[str, str], Manifest]) -> dict[str, str]:
    """The environment that the settings of a rendered chart make."""
    (found,) = [
        each["data"]
        for (kind, name), each in objects.items()
        if kind == "ConfigMap" and name.endswith("-settings")
    ]
    return dict(found)


def routes_of(objects: dict[tuple[str, str], Manifest]) -> str:
    return str(objects["ConfigMap", "waiting-room-gateway-routes"]["data"]["routes.yaml"])


def test_the_settings_are_settings_and_the_gateway_finds_no_fault_in_the_routes(tmp_path: Path) -> None:
    environ = settings_of(OBJECTS)
    assert set(environ) <= {row.name for row in TABLE}
    assert check(environ) == []
    (tmp_path / "routes.yaml").write_text(routes_of(OBJECTS))
    # The address of the keys is an example, and answers nothing.
    done = run(
        str(BIN / "gateway"),
        "check",
        "--strict",
        environ={**environ, "ROUTES_FILE": str(tmp_path / "routes.yaml"), "REDIS_URL": "redis://redis:6379"},
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_numbers_of_the_values_keep_their_form(render: Render) -> None:
    settings = settings_of(render(EVERYTHING, "shop"))
    assert settings["ALLOWED_IN_MAX_CAPACITY"] == "1000000"
    assert settings["OVERLOAD_LAG_MS"] == "0.5"
    assert settings["PASS"] == "true"
    assert settings["SHUTDOWN_GRACE_SECONDS"] == "60"


def drain_of(objects: dict[tuple[str, str], Manifest]) -> tuple[float, float, float]:
    """Seconds until SIGTERM, the gateway's own time after it, and Kubernetes' time for both."""
    deployment = only(objects, "Deployment")
    sleep, seconds = container(deployment)["lifecycle"]["preStop"]["exec"]["command"]
    assert sleep == "sleep"
    grace = float(settings_of(objects)["SHUTDOWN_GRACE_SECONDS"])
    return (
        float(seconds),
        grace,
        float(deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]),
    )


def test_a_pod_has_time_to_drain_before_it_is_killed(render: Render) -> None:
    for objects in (OBJECTS, render(EVERYTHING, "shop"), render("drain: {graceSeconds: 0.5}")):
        before, grace, all_of_it = drain_of(objects)
        assert all_of_it >= before + grace + 2
        assert all_of_it == int(all_of_it)
    assert drain_of(render(EVERYTHING, "shop")) == (10.5, 60.0, 73.0)


def test_a_new_pod_is_ready_before_an_old_one_goes() -> None:
    spec = only(OBJECTS, "Deployment")["spec"]
    assert spec["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
    }
    # The autoscaler keeps at least two. A number here would undo what it has set, with each update.
    assert "replicas" not in spec
    assert only(OBJECTS, "HorizontalPodAutoscaler")["spec"]["minReplicas"] >= 2
    assert only(OBJECTS, "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1


def test_without_the_autoscaler_the_number_of_pods_is_that_of_the_values(render: Render) -> None:
    objects = render("{replicas: 4, autoscaling: {enabled: false}}")
    assert only(objects, "Deployment")["spec"]["replicas"] == 4
    assert not [kind for kind, _ in objects if kind == "HorizontalPodAutoscaler"]


@pytest.mark.parametrize("file", ["gateway.yaml", "redis.yaml"])
def test_pods_need_no_more_than_the_restricted_profile_allows(file: str) -> None:
    kinds = {"Deployment", "StatefulSet"}
    (workload,) = [each for (kind, _), each in manifests((PLAIN / file).read_text()).items() if kind in kinds]
    pod = workload["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    inner = container(workload)["securityContext"]
    assert inner == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"cpu", "memory"} == set(container(workload)["resources"]["requests"])
    assert {"memory"} == set(container(workload)["resources"]["limits"])


def test_the_user_is_that_of_the_image_and_the_account_has_no_token() -> None:
    user = re.search(r"^USER (\d+):(\d+)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert user
    security = only(OBJECTS, "Deployment")["spec"]["template"]["spec"]["securityContext"]
    assert (security["runAsUser"], security["runAsGroup"]) == (int(user[1]), int(user[2]))
    assert only(OBJECTS, "ServiceAccount")["automountServiceAccountToken"] is False


@pytest.mark.parametrize("values", ["serviceMonitor: {enabled: true}", EVERYTHING])
def test_all_objects_are_about_the_same_pods_and_ports(render: Render, values: str) -> None:
    objects = render(values, "shop")
    deployment = only(objects, "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    ports = {each["name"] for each in container(deployment)["ports"]}
    selectors = [
        deployment["spec"]["selector"]["matchLabels"],
        only(objects, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        only(objects, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        *[each["spec"]["selector"] for (kind, _), each in objects.items() if kind == "Service"],
        *[
            each["labelSelector"]["matchLabels"]
            for each in deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
        ],
    ]
    assert len(selectors) == 7
    for selector in selectors:
        assert selector.items() <= labels.items()
        assert selector == selectors[0]
    for (kind, _), each in objects.items():
        if kind == "Service":
            assert {port["targetPort"] for port in each["spec"]["ports"]} <= ports
    target = only(objects, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert target["name"] == deployment["metadata"]["name"]
    rules = only(objects, "NetworkPolicy")["spec"]["ingress"]
    assert {port["port"] for rule in rules for port in rule["ports"]} <= ports
    monitor = only(objects, "ServiceMonitor")["spec"]
    chosen = [
        each
        for (kind, _), each in objects.items()
        if kind == "Service"
        and monitor["selector"]["matchLabels"].items() <= each["metadata"]["labels"].items()
    ]
    assert [port["name"] for each in chosen for port in each["spec"]["ports"]] == [
        endpoint["port"] for endpoint in monitor["endpoints"]
    ]


def test_the_network_policy_opens_the_ports_that_the_gateway_needs(render: Render) -> None:
    egress = only(OBJECTS, "NetworkPolicy")["spec"]["egress"]
    opened = {port["port"] for rule in egress for port in rule.get("ports", ())}
    assert opened == {53, 6379, 443}
    assert {"to": [{"podSelector": {}}]} in egress
    other = only(render(EVERYTHING, "shop"), "NetworkPolicy")["spec"]
    assert [rule["from"][0]["namespaceSelector"] for rule in other["ingress"]] == [
        {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}
    ]
    opened = {(port["protocol"], port["port"]) for rule in other["egress"] for port in rule.get("ports", ())}
    names = {(protocol, port) for protocol in ("UDP", "TCP") for port in (53, 5353)}
    assert opened == names | {("TCP", 6379), ("TCP", 26379)}
    openshift = render("networkPolicy: {dns: {ports: [5353]}}")
    assert only(openshift, "NetworkPolicy")["spec"]["egress"][0] == {
        "ports": [{"protocol": protocol, "port": 5353} for protocol in ("UDP", "TCP")]
    }


def test_a_route_of_the_gateway_api_leads_to_the_service_without_a_limit_of_time(render: Render) -> None:
    assert "HTTPRoute" not in {kind for kind, _ in OBJECTS}
    values = "{httpRoute: {enabled: true, parentRefs: [{name: public}]}, service: {port: 8000}}"
    objects = render(values, "shop")
    spec = only(objects, "HTTPRoute")["spec"]
    (rule,) = spec["rules"]
    (backend,) = rule["backendRefs"]
    ports = objects["Service", backend["name"]]["spec"]["ports"]
    assert [(port["port"], port["targetPort"]) for port in ports] == [(backend["port"], "http")]
    # Streams are requests that last. No host: all of the listener's.
    assert rule["timeouts"] == {"request": "0s"}
    assert set(spec) == {"parentRefs", "rules"}
    older = values.replace("parentRefs", "timeouts: {request: null}, parentRefs")
    assert "timeouts" not in only(render(older), "HTTPRoute")["spec"]["rules"][0]


def test_a_fault_in_a_route_of_the_gateway_api_is_found(render: Render) -> None:
    validate = pytest.importorskip("kubernetes_validate")
    route = only(render(EVERYTHING), "HTTPRoute")
    for change in (
        {"hostname": "a.example"},
        {"hostnames": ["a_b.example"]},
        {"parentRefs": [{"namespace": "infra"}]},
        {"rules": [{"timeouts": {"request": "5"}}]},
    ):
        with pytest.raises(validate.utils.jsonschema.ValidationError):
            valid(route | {"spec": route["spec"] | change})


def test_redis_lets_the_gateways_in(render: Render) -> None:
    redis = manifests((PLAIN / "redis.yaml").read_text())
    (rule,) = only(redis, "NetworkPolicy")["spec"]["ingress"]
    (peer,) = rule["from"]
    for objects in (OBJECTS, render("", "shop")):
        labels = only(objects, "Deployment")["spec"]["template"]["metadata"]["labels"]
        assert peer["podSelector"]["matchLabels"].items() <= labels.items()


async def test_redis_starts_as_its_manifest_says(tmp_path: Path) -> None:
    """The command, with another folder and port; and the probe."""
    spec = container(only(manifests((PLAIN / "redis.yaml").read_text()), "StatefulSet"))
    command = [*spec["command"], *spec["args"]]
    assert command[:2] == ["sh", "-c"]
    socket = tmp_path / "redis.sock"
    script = command[2].replace(
        "--dir /data", f"--dir {tmp_path} --port 0 --unixsocket {socket} --daemonize yes"
    )
    assert script != command[2]
    environ = {"REDIS_PASSWORD": "a-password", "REDISCLI_AUTH": "a-password"}
    script = script.replace("exec redis-server", tool("redis-server"))
    done = run("sh", "-c", script, environ=environ)
    assert done.returncode == 0, done.stderr
    cli = f"{tool('redis-cli')} -s {socket}"
    probe = spec["readinessProbe"]["exec"]["command"][2].replace("redis-cli", cli)
    try:
        await eventually(lambda: run("sh", "-c", probe, environ=environ).returncode == 0)
        assert run("sh", "-c", probe, environ=environ | {"REDISCLI_AUTH": "wrong"}).returncode != 0
        for name, value in (("appendonly", "yes"), ("maxmemory-policy", "noeviction")):
            said = run("sh", "-c", f"{cli} config get {name}", environ=environ).stdout
            assert said.split() == [name, value]
    finally:
        run("sh", "-c", f"{cli} shutdown nosave", environ=environ)


def test_the_autoscaler_and_the_adapter_know_a_metric_of_the_gateway() -> None:
    asked = {
        each["pods"]["metric"]["name"]
        for each in only(OBJECTS, "HorizontalPodAutoscaler")["spec"]["metrics"]
        if each["type"] == "Pods"
    }
    adapter = yaml.safe_load((PLAIN / "prometheus-adapter-values.yaml").read_text())
    made = {re.split(r"\W", rule["seriesQuery"])[0] for rule in adapter["rules"]["custom"]}
    page = (DEPLOY.parent / "docs" / "reference" / "metrics.md").read_text()
    documented = set(names(row[0] for row in rows(page, 4)))
    assert asked == made
    assert asked <= documented


async def test_a_gateway_answers_its_probes_and_takes_over_what_kubelet_writes(
    tmp_path: Path, redis_url: str
) -> None:
    spec = container(only(OBJECTS, "Deployment"))
    async with a_service() as service, aiohttp.ClientSession() as session:
        routes = routes_of(OBJECTS).replace("http://shop:8080", service.url)
        assert service.url in routes
        volume = MountedConfigMap(tmp_path / "routes", {"routes.yaml": routes})
        environ = settings_of(OBJECTS) | {
            "REDIS_URL": redis_url,
            "SERVER_HOST": "127.0.0.1",
            "SERVER_PORT": "0",
            "MANAGEMENT_SERVER_PORT": "0",
            "ROUTES_FILE": str(volume.folder / Path(settings_of(OBJECTS)["ROUTES_FILE"]).name),
        }
        async with gateway_process(environ, tmp_path, bare=True) as gateway:
            management = await management_of(gateway)
            asked = {"MANAGEMENT_SERVER_PORT": management.rpartition(":")[2], "SERVER_HOST": "127.0.0.1"}
            program, *words = spec["startupProbe"]["exec"]["command"]
            done = run(str(BIN / program), *words, environ=asked)
            assert (done.returncode, done.stdout) == (0, "UP\n"), done.stderr
            for name in ("readinessProbe", "livenessProbe"):
                probe = spec[name]["httpGet"]
                assert probe["port"] == "management"
                async with session.get(management + probe["path"]) as response:
                    assert (response.status, await response.json()) == (200, {"status": "UP"})

            async def status(path: str) -> int:
                async with session.get(gateway.base + path) as response:
                    return response.status

            assert await status("/api/products") == 200
            volume.update({"routes.yaml": routes.replace("Path=/**", "Path=/other/**")})
            await eventually(lambda: is_it(status("/api/products"), 404))
            assert await status("/other/products") == 200
            # What can't be used changes nothing, and readiness stays.
            volume.update({"routes.yaml": "routes: nonsense"})
            await eventually(lambda: is_it(up_to_date(session, management), 0))
            assert await status("/other/products") == 200
            async with session.get(management + spec["readinessProbe"]["httpGet"]["path"]) as response:
                assert response.status == 200


async def is_it(answer: Any, expected: object) -> bool:
    return bool(await answer == expected)


async def up_to_date(session: aiohttp.ClientSession, management: str) -> float:
    """What the gateway says of its routes."""
    async with session.get(f"{management}/metrics") as response:
        found = re.search(r"^gateway_routes_up_to_date (\S+)$", await response.text(), re.MULTILINE)
    assert found
    return float(found[1])
