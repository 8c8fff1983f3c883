"""Rendering of deploy/chart: objects valid for Kubernetes, and command lines valid for dfengine."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click
import jsonschema
import kubernetes_validate
import pytest
import yaml

from dfengine.about import VERSION
from dfengine.app import cli, options
from dfengine.net.secret import OPEN
from dfengine.proxy.front.access_control import AccessControl, Listen
from dfengine.proxy.front.health import PATHS
from dfengine.proxy.registries import Registry
from dfengine.proxy.registry.client_files import files
from dfengine.supernode.router import OURS, ROUTES
from tests.deploy.chart import CHART, NAMESPACE, RELEASE, Strict, merged, objects, rendered, renderer

KUBERNETES = "1.27", "1.35"
IMAGE = {"image": {"repository": "registry.example.com:5000/dfengine"}}

CASES: dict[str, dict[str, Any]] = {
    "default": {},
    "all": {
        "image": {"tag": "latest", "pullSecrets": ["pull"]},
        "secret": {"existing": "swarm", "keys": ["new", "old"]},
        "tls": {"existing": "certificates"},
        "supernode": {
            "replicas": 3,
            "drainSeconds": 600,
            "extraArgs": ["--max-bandwidth=500M", "--origin-allow=.example.com", "--log-format=json"],
            "extraEnv": [{"name": "https_proxy", "value": "http://10.0.0.3:3128"}],
            "extraVolumes": [{"name": "more", "configMap": {"name": "authorities"}}],
            "extraVolumeMounts": [{"name": "more", "mountPath": "/etc/authorities"}],
            "preheatTokenSecret": "harbor",
            "consoleTokenSecret": "operators",
            "storage": {"size": "1Ti", "className": "fast"},
            "nodeSelector": {"disk": "large"},
            "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
            "priorityClassName": "high",
            "annotations": {"example.com/note": "yes"},
        },
        "proxy": {
            "registries": ["https://docker.io", "http://registry.local:5000", "registry.example.com=https://10.0.0.5:5000"],
            "registryAuthSecret": "logins",
            "nodeFiles": {"docker": "/etc/docker/certs.d", "containers": "/etc/containers/registries.conf.d"},
            "allow": ["10.244.0.0/16", "fd00::/8"],
            "port": 65101,
            "peerPort": 20000,
            "extraArgs": ["--hub=https://hub.example.com", "--cacerts=/etc/authorities/ca.crt", "--location=$(NODE_IP)"],
            "extraEnv": [{"name": "TZ", "value": "UTC"}],
            "extraVolumes": [{"name": "more", "configMap": {"name": "authorities"}}],
            "extraVolumeMounts": [{"name": "more", "mountPath": "/etc/authorities"}],
            "tolerations": [],
            "annotations": {"example.com/note": "yes"},
        },
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "networkPolicy": {"enabled": True, "from": [{"ipBlock": {"cidr": "10.0.0.0/16"}}, {"namespaceSelector": {}}]},
    },
    "own secret": {"secret": {"value": "sixteen \"bytes\" or more: {{ }}"}, "serviceMonitor": {"enabled": True}},
    "supernodes alone": {"proxy": {"enabled": False}, "podDisruptionBudget": {"enabled": False}, "supernode": {"resources": {}}},
    "proxies alone": {
        "supernode": {"enabled": False},
        "proxy": {"supernodes": ["10.0.0.1", "supernode.example.com:9002=2"], "nodeFiles": {"containerd": ""}},
    },
}

REFUSED: dict[str, dict[str, Any]] = {
    "image.repository": {"image": {"repository": ""}},
    "secret.value": {"secret": {"value": "short"}},
    "proxy.supernodes": {"supernode": {"enabled": False}},
    "proxy.registries": {"proxy": {"registries": []}},
    "networkPolicy.from": {"networkPolicy": {"enabled": True}},
}
"""The setting that the message names -> values that are refused."""

PLACES = {"status.podIP": "10.244.1.9", "status.hostIP": "10.0.0.7"}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str] | str]:
    """Files of each case, or its error."""
    cases = {**CASES, **REFUSED}
    program = renderer(tmp_path_factory.mktemp("render"))
    given = [{**case, "image": {**IMAGE["image"], **case.get("image", {})}} for case in cases.values()]
    return dict(zip(cases, rendered(program, given), strict=True))


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, answers: dict[str, Any]) -> list[dict[str, Any]]:
    """The objects of one case."""
    found = answers[request.param]
    assert isinstance(found, dict), found
    return objects(found)


def kinds(case: list[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
    return [each for each in case if each["kind"] in names]


def pods(case: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each["spec"]["template"] for each in kinds(case, "StatefulSet", "DaemonSet")]


def containers(case: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for pod in pods(case) for part in ("initContainers", "containers") for each in pod["spec"].get(part, [])]


def words(container: dict[str, Any]) -> list[str]:
    """A container's arguments as the kubelet expands them: $(NAME) by the container's own environment."""
    env = {
        each["name"]: PLACES[each["valueFrom"]["fieldRef"]["fieldPath"]] if "valueFrom" in each else each["value"]
        for each in container.get("env", [])
    }
    return [re.sub(r"\$\((\w+)\)", lambda match: env[match[1]], word) for word in container.get("args", [])]


def settings(container: dict[str, Any]) -> dict[str, Any]:
    """The settings that dfengine's own parser yields for a container's arguments."""
    command, *rest = words(container)
    return cli.main.commands[command].make_context(command, rest).params


def test_objects_are_valid_for_kubernetes(case: list[dict[str, Any]]) -> None:
    assert case
    for each in case:
        assert each["metadata"]["namespace"] == NAMESPACE
        if each["kind"] != "ServiceMonitor":
            for version in KUBERNETES:
                kubernetes_validate.validate(each, version, strict=True)
    names = [(each["kind"], each["metadata"]["name"]) for each in case]
    assert len(names) == len(set(names))


def test_each_case_renders_the_expected_objects(answers: dict[str, Any]) -> None:
    found = {name: sorted(each["kind"] for each in objects(answers[name])) for name in CASES}
    base = ["DaemonSet", "PodDisruptionBudget", "Service", "Service", "StatefulSet"]
    assert found == {
        "default": base,
        "all": sorted([*base, "NetworkPolicy", "ServiceMonitor"]),
        "own secret": sorted([*base, "Secret", "ServiceMonitor"]),
        "supernodes alone": ["Service", "Service", "StatefulSet"],
        "proxies alone": ["DaemonSet"],
    }


@pytest.mark.parametrize("named", REFUSED)
def test_unusable_values_are_refused(named: str, answers: dict[str, Any]) -> None:
    assert isinstance(answers[named], str)
    assert named in answers[named]


def test_command_lines_are_valid_for_dfengine(case: list[dict[str, Any]]) -> None:
    commands = [settings(each) for each in containers(case) if "command" not in each]
    assert commands
    for found in commands:
        for text in found.get("listen", ()):
            Listen.parse(text)
        for text in found.get("registries", ()):
            Registry.parse(text)
        if "listen" in found:
            AccessControl(tuple(map(Listen.parse, found["listen"])), tuple(found["allow"]), "")


def test_servers_announce_addresses_that_others_can_reach(case: list[dict[str, Any]]) -> None:
    for pod in pods(case):
        found = settings(pod["spec"]["containers"][0])
        if pod["spec"].get("hostNetwork"):
            assert found["ip"] == PLACES["status.hostIP"]
            assert pod["spec"]["dnsPolicy"] == "ClusterFirstWithHostNet"
        else:
            assert found["advertise_ip"] == PLACES["status.podIP"]


def test_invalid_arguments_are_detected_by_these_tests(answers: dict[str, Any]) -> None:
    container = containers(objects(answers["default"]))[0]
    for wrong in ("--no-such-option", "--disk-low=much"):
        with pytest.raises(click.UsageError):
            settings({"args": ["supernode", wrong], **{key: container[key] for key in ("name",)}})


def test_init_containers_write_below_directories_mounted_from_the_node(case: list[dict[str, Any]]) -> None:
    for pod in pods(case):
        for container in pod["spec"].get("initContainers", []):
            if "command" in container:
                assert container["command"][-1] == settings(pod["spec"]["containers"][0])["home"]
                continue
            found = settings(container)
            assert found["what"] == "hosts-toml"
            serves = settings(pod["spec"]["containers"][0])
            assert found["registries"] == serves["registries"]
            assert found["listen"] == serves["listen"][:1]
            written = files(tuple(map(Registry.parse, found["registries"])), f"http://{found['listen'][0]}")
            assert written
            volumes = {each["name"]: each for each in pod["spec"]["volumes"]}
            seen = set()
            for path in written:
                full = f"{found['write']}/{path}"
                mount = max((each for each in container["volumeMounts"] if full.startswith(each["mountPath"] + "/")),
                            key=lambda each: len(each["mountPath"]))  # fmt: skip
                volume = volumes[mount["name"]]
                if "hostPath" in volume:
                    seen.add(volume["hostPath"]["path"] + full.removeprefix(mount["mountPath"]))
            assert "/etc/containerd/certs.d/docker.io/hosts.toml" in seen
            assert seen <= {f"/etc/{path}" for path in written}


def test_init_containers_of_both_kinds_are_rendered(answers: dict[str, Any]) -> None:
    """Otherwise the test above compares nothing."""
    inits = [each for name in CASES for pod in pods(objects(answers[name])) for each in pod["spec"].get("initContainers", [])]
    assert {"command" in each for each in inits} == {True, False}


def test_mounts_and_volumes_agree(case: list[dict[str, Any]]) -> None:
    for each in kinds(case, "StatefulSet", "DaemonSet"):
        pod = each["spec"]["template"]["spec"]
        volumes = [volume["name"] for volume in pod["volumes"]]
        volumes += [claim["metadata"]["name"] for claim in each["spec"].get("volumeClaimTemplates", [])]
        assert len(volumes) == len(set(volumes))
        parts = [*pod.get("initContainers", []), *pod["containers"]]
        assert {mount["name"] for part in parts for mount in part["volumeMounts"]} == set(volumes)
        for part in parts:
            paths = [mount["mountPath"] for mount in part["volumeMounts"]]
            assert len(paths) == len(set(paths))


def test_files_and_directories_of_settings_are_mounted(case: list[dict[str, Any]]) -> None:
    for container in containers(case):
        if "command" in container:
            continue
        found = settings(container)
        paths = [mount["mountPath"] for mount in container["volumeMounts"]]
        table = {option.name: option.kind for option in options.COMMANDS[container["args"][0]]}
        named = [name for name, value in found.items() if table.get(name) in ("file", "dir") and value]
        assert named
        for name in named:
            for value in found[name] if isinstance(found[name], tuple) else (found[name],):
                assert any(value == path or value.startswith(path + "/") for path in paths), value


def test_secrets_are_readable_by_the_servers_group_only(case: list[dict[str, Any]]) -> None:
    for pod in pods(case):
        assert pod["spec"]["securityContext"]["fsGroup"] == 10001
        for volume in pod["spec"]["volumes"]:
            if "secret" in volume:
                assert volume["secret"]["defaultMode"] == 0o440
        for part in pod["spec"]["containers"]:
            assert part["securityContext"]["runAsGroup"] == 10001


def test_probes_use_paths_that_need_no_signature(case: list[dict[str, Any]]) -> None:
    for pod in pods(case):
        for container in pod["spec"]["containers"]:
            ports = {each["name"]: each["containerPort"] for each in container["ports"]}
            found = settings(container)
            probes = {name: probe for name, probe in container.items() if name.endswith("Probe")}
            assert {"readinessProbe", "livenessProbe"} <= probes.keys()
            # A full or draining server is not killed for its state.
            assert probes["readinessProbe"].get("httpGet", {}).get("path") in (None, "/readyz")
            assert probes["livenessProbe"].get("httpGet", {}).get("path") != "/readyz"
            for probe in probes.values():
                asked = probe.get("tcpSocket") or probe["httpGet"]
                assert asked["port"] in ports
                if container["name"] == "proxy":
                    assert f"{asked['host']}:{ports[asked['port']]}" in found["listen"]
                    assert asked["path"].encode() in PATHS
                elif "httpGet" in probe:
                    assert not found["tls_ca"]
                    assert asked["path"] in OPEN
                    assert "GET" in ROUTES[OURS.get(asked["path"], asked["path"])]


def test_container_ports_are_the_listening_ports(case: list[dict[str, Any]]) -> None:
    for container in containers(case):
        if "ports" not in container:
            continue
        ports = {each["name"]: each["containerPort"] for each in container["ports"]}
        found = settings(container)
        if container["name"] == "supernode":
            assert ports == {"control": found["port"] or 8002, "download": found["download_port"] or 8001}
        else:
            assert ports == {"proxy": Listen.parse(found["listen"][0]).port, "peer": found["port"]}
            assert all(each["hostPort"] == each["containerPort"] for each in container["ports"])


def test_selectors_match_only_their_own_pods(case: list[dict[str, Any]]) -> None:
    labels = {each["kind"]: each["spec"]["template"]["metadata"]["labels"] for each in kinds(case, "StatefulSet", "DaemonSet")}
    for each in case:
        spec = each.get("spec", {})
        selector = spec.get("podSelector") or spec.get("selector", {})
        selector = selector.get("matchLabels", selector)
        if each["kind"] == "ServiceMonitor":
            chosen = [found for found in kinds(case, "Service") if selector.items() <= found["metadata"]["labels"].items()]
            assert [found["spec"].get("clusterIP") for found in chosen] == ["None"]
            assert spec["endpoints"][0]["port"] in [port["name"] for port in chosen[0]["spec"]["ports"]]
        elif selector:
            owner = "DaemonSet" if each["kind"] == "DaemonSet" else "StatefulSet"
            assert [kind for kind, found in labels.items() if selector.items() <= found.items()] == [owner]


def test_services_use_named_ports_and_the_names_that_proxies_connect_to(case: list[dict[str, Any]]) -> None:
    sets = kinds(case, "StatefulSet")
    for owner in sets:
        ports = {each["name"] for each in owner["spec"]["template"]["spec"]["containers"][0]["ports"]}
        services = {each["metadata"]["name"]: each["spec"] for each in kinds(case, "Service")}
        assert services[owner["spec"]["serviceName"]]["clusterIP"] == "None"
        assert services[owner["spec"]["serviceName"]]["publishNotReadyAddresses"] is True
        for each in services.values():
            assert {port["targetPort"] for port in each["ports"]} <= ports
        for each in kinds(case, "NetworkPolicy"):
            assert {port["port"] for rule in each["spec"]["ingress"] for port in rule["ports"]} == ports
    called = [str(node) for each in containers(case) if each["name"] == "proxy" for node in settings(each)["nodes"]]
    if sets and called:
        name, domain = sets[0]["metadata"]["name"], f"{sets[0]['spec']['serviceName']}.{NAMESPACE}.svc.cluster.local"
        assert called == [f"{name}-{n}.{domain}:8002" for n in range(sets[0]["spec"]["replicas"])]


def test_proxies_may_use_external_supernodes(answers: dict[str, Any]) -> None:
    proxy = next(each for each in containers(objects(answers["proxies alone"])) if each["name"] == "proxy")
    assert [(str(node), node.weight) for node in settings(proxy)["nodes"]] == [("10.0.0.1:8002", 1), ("supernode.example.com:9002", 2)]


def test_service_variables_and_account_tokens_are_disabled(case: list[dict[str, Any]]) -> None:
    for pod in pods(case):
        assert pod["spec"]["enableServiceLinks"] is False
        assert pod["spec"]["automountServiceAccountToken"] is False


def test_termination_grace_periods_cover_draining(case: list[dict[str, Any]]) -> None:
    for pod in pods(case):
        drain = settings(pod["spec"]["containers"][0]).get("drain") or 0
        assert pod["spec"]["terminationGracePeriodSeconds"] >= drain + 30


def test_servers_run_without_privileges(case: list[dict[str, Any]]) -> None:
    for pod in pods(case):
        for part in ("initContainers", "containers"):
            for each in pod["spec"].get(part, []):
                context = each["securityContext"]
                assert context["readOnlyRootFilesystem"] is True
                assert context["allowPrivilegeEscalation"] is False
                assert context["capabilities"]["drop"] == ["ALL"]
                if part == "containers":
                    assert context["runAsNonRoot"] is True
                    assert context["runAsUser"] == 10001
                    assert "add" not in context["capabilities"]


def test_a_secret_is_mounted_in_supernodes_and_proxies(answers: dict[str, Any]) -> None:
    for name, keys in (("default", []), ("own secret", ["secret"]), ("all", ["new", "old"])):
        for each in containers(objects(answers[name])):
            if each["name"] in ("supernode", "proxy"):
                assert [path.rpartition("/")[2] for path in settings(each)["secret_file"]] == keys
    secret = kinds(objects(answers["own secret"]), "Secret")[0]
    assert secret["stringData"] == {"secret": CASES["own secret"]["secret"]["value"]}
    mounted = {volume["secret"]["secretName"] for pod in pods(objects(answers["own secret"])) for volume in pod["spec"]["volumes"]
               if volume["name"] == "secret"}  # fmt: skip
    assert mounted == {secret["metadata"]["name"]}


def test_metrics_are_scraped_by_tls_if_supernodes_use_tls(answers: dict[str, Any]) -> None:
    assert "/metrics" in OPEN
    for name, scheme in (("own secret", "http"), ("all", "https")):
        endpoint = kinds(objects(answers[name]), "ServiceMonitor")[0]["spec"]["endpoints"][0]
        assert (endpoint["path"], endpoint.get("scheme", "http")) == ("/metrics", scheme)


def test_notes_describe_the_installed_parts(answers: dict[str, Any]) -> None:
    notes = {name: answers[name]["NOTES.txt"] for name in CASES}
    assert f"{RELEASE}-supernode-0.{RELEASE}-supernodes.{NAMESPACE}.svc.cluster.local:8002" in notes["default"]
    assert "There is no secret" in notes["default"]
    assert "There is no secret" not in notes["all"]
    assert "127.0.0.1" not in notes["supernodes alone"]


def test_the_chart_has_the_version_of_dfengine() -> None:
    chart = yaml.load((CHART / "Chart.yaml").read_text(), Strict)
    assert (chart["version"], chart["appVersion"]) == (VERSION, VERSION)


def test_each_value_is_used_by_a_template() -> None:
    used = "".join(path.read_text() for path in (CHART / "templates").iterdir())
    values = yaml.load((CHART / "values.yaml").read_text(), Strict)

    def names(value: Any) -> list[str]:
        return [name for key, below in value.items() for name in (key, *(names(below) if isinstance(below, dict) else []))]

    below_resources = {"requests", "limits", "cpu", "memory"}
    assert [name for name in names(values) if name not in below_resources and not re.search(rf"\.{name}\b", used)] == []


def test_misspelled_and_mistyped_values_are_refused(answers: dict[str, Any]) -> None:
    values = yaml.load((CHART / "values.yaml").read_text(), Strict)
    schema = json.loads((CHART / "values.schema.json").read_text())
    for case in CASES.values():
        jsonschema.validate(merged(values, case), schema)
    wrongs: tuple[dict[str, Any], ...] = (
        {"proxies": {}}, {"proxy": {"registry": []}}, {"proxy": {"peerPort": 80}}, {"proxy": {"port": "65001"}},
        {"supernode": {"replicas": 0}}, {"supernode": {"extraArgs": ["on"]}}, {"secret": {"value": 12345678901234567}},
    )  # fmt: skip
    for wrong in wrongs:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(merged(values, wrong), schema)


def test_the_schema_agrees_with_the_values() -> None:
    def shape(value: Any) -> Any:
        return {name: shape(below) for name, below in value.items()} if isinstance(value, dict) else None

    def known(schema: dict[str, Any], value: Any) -> Any:
        found = schema.get("properties")
        return {name: known(below, value.get(name)) for name, below in found.items()} if found else shape(value)

    values = yaml.load((CHART / "values.yaml").read_text(), Strict)
    # Helm adds `global` for charts that have this one as a dependency.
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert known(schema, {**values, "global": {}}) == shape({**values, "global": {}})


def test_the_image_runs_as_the_charts_user() -> None:
    text = Path(CHART.parent, "Containerfile").read_text()
    assert "USER 10001:10001" in text
    assert 'ENTRYPOINT ["/usr/bin/dfengine"]' in text
    assert not re.search(r"\b(gcc|build-essential|python3-dev)\b", text)
