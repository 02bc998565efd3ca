"""What each value does."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.chart.support.api_rules import complaints
from tests.chart.support.releases import HTTP, LEAST, STATEFUL, Values, merged
from tests.chart.support.rendering import Object, container, notes, of_kind, one, pod_template, render
from tests.support.program import new_app
from tests.support.schemas import schema_errors

HOST = {"name": "demo.lab", "servicePort": 80}
SSH = {"name": "ssh", "servicePort": 2223, "targetPort": 22}


def release(values: Values, **names: str) -> list[Object]:
    return render(merged(LEAST, values), **names)


def served(values: Values | None = None, *hosts: Values) -> list[Object]:
    return release(
        {"services": [HTTP], "ingress": merged({"enabled": True, "hosts": list(hosts) or [HOST]}, values or {})}
    )


def test_two_lines_of_values_are_an_application() -> None:
    assert [thing["kind"] for thing in release({})] == ["Deployment"]


IMAGES = {
    "a tag": ({"tag": "1.2.3"}, "registry.lab/homelab/demo:1.2.3"),
    "a tag that is a number": ({"tag": 20241001}, "registry.lab/homelab/demo:20241001"),
    "a digest": ({"tag": None, "digest": f"sha256:{'a' * 64}"}, f"registry.lab/homelab/demo@sha256:{'a' * 64}"),
    "both": ({"digest": f"sha256:{'a' * 64}"}, f"registry.lab/homelab/demo:1.0.0@sha256:{'a' * 64}"),
    "a registry with a port": ({"repository": "registry.lab:5000/a/b"}, "registry.lab:5000/a/b:1.0.0"),
}


@pytest.mark.parametrize("what", IMAGES)
def test_the_image_is_named_by_tag_digest_or_both(what: str) -> None:
    image, expected = IMAGES[what]
    assert container(release({"image": image}))["image"] == expected


ENVIRONMENTS: dict[str, tuple[Any, Any]] = {
    "a list": (
        [{"name": "B", "value": "2"}, {"name": "A", "value": 1}],
        [{"name": "B", "value": "2"}, {"name": "A", "value": "1"}],
    ),
    "a map": ({"B": "2", "A": "1"}, [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]),
    "a large number": ({"A": 1000000}, [{"name": "A", "value": "1000000"}]),
    "a negative number": ({"A": -5}, [{"name": "A", "value": "-5"}]),
    "a boolean": ({"A": True, "B": False}, [{"name": "A", "value": "true"}, {"name": "B", "value": "false"}]),
    "texts that look like something else": (
        {"A": "0x10", "B": "yes", "C": "null", "D": "1.10", "E": "", "F": "1e3"},
        [
            {"name": name, "value": value}
            for name, value in zip("ABCDEF", ["0x10", "yes", "null", "1.10", "", "1e3"], strict=True)
        ],
    ),
    "a name set to null": ({"A": None, "B": "2"}, [{"name": "B", "value": "2"}]),
    "a template": ({"A": "{{ .Values.x }}"}, [{"name": "A", "value": "{{ .Values.x }}"}]),
    "a name that was set before": ({"B": "$(A)"}, [{"name": "B", "value": "$(A)"}]),
    "several lines": ({"A": "one\n two: 3\n"}, [{"name": "A", "value": "one\n two: 3\n"}]),
    "a reference": (
        {"A": {"valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}},
        [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
    ),
}


@pytest.mark.parametrize("what", ENVIRONMENTS)
def test_the_environment_is_a_list_or_a_map_and_arrives_as_text(what: str) -> None:
    env, expected = ENVIRONMENTS[what]
    assert container(release({"env": env}))["env"] == expected


def test_an_empty_environment_leaves_nothing_behind() -> None:
    assert all("env" not in container(release({"env": env})) for env in ({}, [], {"A": None}))


SOURCES: dict[str, tuple[Any, Any]] = {
    "nfs": ({"nfs": {"server": "s", "path": "/p"}}, {"nfs": {"server": "s", "path": "/p"}}),
    "hostPath": ({"hostPath": {"path": "/p"}}, {"hostPath": {"path": "/p"}}),
    "existingClaim": ({"existingClaim": "c"}, {"persistentVolumeClaim": {"claimName": "c"}}),
    "claim": ({"claim": {"size": "1Gi"}}, {"persistentVolumeClaim": {"claimName": "demo-NAME"}}),
    "emptyDir": ({"emptyDir": {}}, {"emptyDir": {}}),
    "memory": (
        {"emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
        {"emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
    ),
    "configMap": ({"configMap": {"name": "m", "optional": True}}, {"configMap": {"name": "m", "optional": True}}),
    "secret": (
        {"secret": {"secretName": "m", "defaultMode": 256}},
        {"secret": {"secretName": "m", "defaultMode": 256}},
    ),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_every_kind_of_volume_is_mounted_in_the_short_form_and_by_name(kind: str) -> None:
    source, expected = SOURCES[kind]
    short = {**source, "mountPath": ["a:/a", "/b"]}
    for volumes, name in ((short, "storage"), ({"items": {"data": short}}, "data")):
        objects = release({"volumes": volumes})
        wanted = json.loads(json.dumps(expected).replace("NAME", name))
        assert pod_template(objects)["spec"]["volumes"] == [{"name": name, **wanted}]
        assert container(objects)["volumeMounts"] == [
            {"name": name, "mountPath": "/a", "subPath": "a"},
            {"name": name, "mountPath": "/b"},
        ]


def test_volumes_of_every_kind_stand_side_by_side() -> None:
    items = {
        f"v{number}": {**source, "mountPath": f"/v{number}"} for number, (source, _) in enumerate(SOURCES.values())
    }
    objects = release({"volumes": {**SOURCES["nfs"][0], "mountPath": ["/storage"], "items": items}})
    assert len(pod_template(objects)["spec"]["volumes"]) == len(SOURCES) + 1
    assert complaints(objects) == []


def test_volumes_can_be_switched_off_together_and_one_by_one() -> None:
    items = {"data": {"emptyDir": {}, "mountPath": "/data"}, "gone": None}
    assert "volumes" not in pod_template(release({"volumes": {"enabled": False, "items": items}}))["spec"]
    assert [volume["name"] for volume in pod_template(release({"volumes": {"items": items}}))["spec"]["volumes"]] == [
        "data"
    ]


def test_a_claim_outlives_the_release_unless_the_values_say_otherwise() -> None:
    def annotations(claim: Values) -> Any:
        objects = release({"volumes": {"items": {"data": {"claim": {"size": "1Gi", **claim}, "mountPath": "/data"}}}})
        return one(objects, "PersistentVolumeClaim", "demo-data")["metadata"].get("annotations")

    assert annotations({}) == {"helm.sh/resource-policy": "keep"}
    assert annotations({"retain": False}) is None
    assert annotations({"annotations": {"a": 1}}) == {"helm.sh/resource-policy": "keep", "a": "1"}
    # And so it is told to whoever asks how an application is removed.
    said = " ".join(new_app.NewApp.epilog().split())
    assert "removes its release from the cluster, except the volumes that it made" in said
    assert "a claim with `retain: false` is removed, too" in said


def test_a_claims_storage_class_is_the_clusters_own_or_the_named_one_or_none() -> None:
    def spec(claim: Values) -> Any:
        return one(release(data({"claim": {"size": 5, **claim}})), "PersistentVolumeClaim")["spec"]

    assert spec({}) == {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "5"}}}
    assert spec({"storageClass": "local-path"})["storageClassName"] == "local-path"
    assert (
        spec({"storageClass": "", "volumeName": "pv"}).items() >= {"storageClassName": "", "volumeName": "pv"}.items()
    )


def data(source: Values, **more: Any) -> Values:
    return {"volumes": {"items": {"data": {**source, "mountPath": "/data", **more}}}}


RWX = {"claim": {"size": "1Gi", "accessModes": ["ReadWriteMany"]}}
STRATEGIES: dict[str, tuple[Values, str]] = {
    "no volume": ({}, "RollingUpdate"),
    "a new claim": (data({"claim": {"size": "1Gi"}}), "Recreate"),
    "a new claim for reading only": (data({"claim": {"size": "1Gi"}}, readOnly=True), "Recreate"),
    "a new claim that many nodes write": (data(RWX), "RollingUpdate"),
    "a claim whose modes are not known": (data({"existingClaim": "c"}), "Recreate"),
    "a path of the node": (data({"hostPath": {"path": "/p"}}), "Recreate"),
    "a path of the node for reading only": (data({"hostPath": {"path": "/p"}}, readOnly=True), "RollingUpdate"),
    "NFS under one pod": (data({"nfs": {"server": "s", "path": "/p"}}), "Recreate"),
    "NFS under two pods": ({**data({"nfs": {"server": "s", "path": "/p"}}), "replicas": 2}, "RollingUpdate"),
    "NFS for reading only": (data({"nfs": {"server": "s", "path": "/p", "readOnly": True}}), "RollingUpdate"),
    "memory": (data({"emptyDir": {}}), "RollingUpdate"),
    "a ConfigMap": (data({"configMap": {"name": "c"}}), "RollingUpdate"),
    "one of each": (
        {"volumes": {**RWX, "mountPath": "/a", "items": {"b": {"claim": {"size": "1Gi"}, "mountPath": "/b"}}}},
        "Recreate",
    ),
    "the network of the node": ({"hostNetwork": True}, "Recreate"),
    "a port of the node": (
        {"sidecars": [{"name": "x", "image": "x", "ports": [{"containerPort": 53, "hostPort": 53}]}]},
        "Recreate",
    ),
    "what the owner says": ({**data({"claim": {"size": "1Gi"}}), "strategy": "RollingUpdate"}, "RollingUpdate"),
    "what the owner says of nothing": ({"strategy": "Recreate"}, "Recreate"),
    "a StatefulSet": ({**data({"claim": {"size": "1Gi"}}), "kind": "StatefulSet"}, "RollingUpdate"),
}


@pytest.mark.parametrize("what", STRATEGIES)
def test_a_second_pod_starts_beside_the_first_only_where_both_may_write(what: str) -> None:
    values, expected = STRATEGIES[what]
    spec = (of_kind(objects := release(values), "Deployment") or of_kind(objects, "StatefulSet"))[0]["spec"]
    assert spec.get("strategy", spec.get("updateStrategy"))["type"] == expected


# What Kubernetes fills in where a release says nothing of it.
PACE = {"Deployment": {"maxSurge": "25%", "maxUnavailable": "25%"}, "StatefulSet": {"partition": 0}}


@pytest.mark.parametrize("kind", PACE)
def test_the_pace_is_the_releases_own_so_that_another_strategy_can_take_its_place(kind: str) -> None:
    def strategy(values: Values) -> Any:
        spec = one(release({"kind": kind, **values}), kind)["spec"]
        return spec.get("strategy", spec.get("updateStrategy"))

    other = "Recreate" if kind == "Deployment" else "OnDelete"
    usual = {"type": "RollingUpdate", "rollingUpdate": PACE[kind]}
    assert [
        strategy({}),
        strategy({"strategy": "RollingUpdate"}),
        strategy({"strategy": {"type": "RollingUpdate"}}),
    ] == [usual] * 3
    assert strategy({"strategy": other}) == strategy({"strategy": {"type": other}}) == {"type": other}
    first = next(iter(PACE[kind]))
    assert strategy({"strategy": {"type": "RollingUpdate", "rollingUpdate": {first: 1}}}) == {
        **usual,
        "rollingUpdate": {**PACE[kind], first: 1},
    }


def test_a_deployment_that_starts_slowly_is_not_called_failed_before_its_probe_gives_up() -> None:
    def deadline(startup: Values) -> Any:
        return one(release({"probes": {"startup": startup}}), "Deployment")["spec"].get("progressDeadlineSeconds")

    check = {"exec": {"command": ["true"]}}
    assert deadline({**check, "periodSeconds": 10, "failureThreshold": 120}) == 600 + 1200
    assert deadline({**check, "initialDelaySeconds": 60}) == 600 + 60 + 10 * 3
    assert deadline({}) is None


def test_the_pace_of_an_update_is_the_owners() -> None:
    pace = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}}
    assert one(release({"strategy": pace}), "Deployment")["spec"]["strategy"] == pace


def test_a_stateful_set_makes_a_claim_for_each_pod_and_a_service_that_names_them() -> None:
    items = {
        "data": {"claim": {"size": "1Gi", "labels": {"a": 1}}, "mountPath": "/data"},
        "tmp": {"emptyDir": {}, "mountPath": "/tmp"},
    }
    objects = release({"kind": "StatefulSet", "replicas": 3, "services": [HTTP], "volumes": {"items": items}})
    spec = one(objects, "StatefulSet")["spec"]
    assert [claim["metadata"] for claim in spec["volumeClaimTemplates"]] == [{"name": "data", "labels": {"a": "1"}}]
    assert [volume["name"] for volume in spec["template"]["spec"]["volumes"]] == ["tmp"]
    assert spec["serviceName"] == "demo-headless"
    assert one(objects, "Service", "demo-headless")["spec"]["clusterIP"] == "None"
    assert of_kind(objects, "PersistentVolumeClaim") == []
    assert "persistentVolumeClaimRetentionPolicy" not in spec


def test_a_stateful_sets_claims_go_with_it_only_where_every_one_of_them_may() -> None:
    def policy(*retain: bool) -> Any:
        items = {
            f"d{number}": {"claim": {"size": "1Gi", "retain": keep}, "mountPath": f"/d{number}"}
            for number, keep in enumerate(retain)
        }
        objects = release({"kind": "StatefulSet", "volumes": {"items": items}})
        return one(objects, "StatefulSet")["spec"].get("persistentVolumeClaimRetentionPolicy")

    assert policy(False, False) == {"whenDeleted": "Delete", "whenScaled": "Retain"}
    assert policy(False, True) is None


def backends(objects: list[Object]) -> dict[str, tuple[str, int]]:
    found = {}
    for ingress in of_kind(objects, "Ingress"):
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                service = path["backend"]["service"]
                found[rule["host"] + path["path"]] = (service["name"], service["port"]["number"])
    return found


LOOKUPS: dict[str, tuple[list[Values], Values, tuple[str, int]]] = {
    "by its port": ([SSH, HTTP], HOST, ("demo-http", 80)),
    "by its name": ([SSH, HTTP], {"name": "demo.lab", "service": "http"}, ("demo-http", 80)),
    "as the only one": ([HTTP], {"name": "demo.lab"}, ("demo-http", 80)),
    "as the first of a port": ([{**HTTP, "name": "a"}, {**HTTP, "name": "b", "targetPort": 81}], HOST, ("demo-a", 80)),
    "by name where two have the port": (
        [{**HTTP, "name": "a"}, {**HTTP, "name": "b", "targetPort": 81}],
        {**HOST, "service": "b"},
        ("demo-b", 80),
    ),
    "by one of its further ports": (
        [{**HTTP, "morePorts": [{"name": "more", "servicePort": 81}]}],
        {**HOST, "servicePort": 81},
        ("demo-http", 81),
    ),
    "past one that is no TCP": ([{"name": "dns", "servicePort": 80, "protocol": "UDP"}, HTTP], HOST, ("demo-http", 80)),
}


@pytest.mark.parametrize("what", LOOKUPS)
def test_a_host_finds_its_service(what: str) -> None:
    services, host, expected = LOOKUPS[what]
    assert backends(release({"services": services, "ingress": {"enabled": True, "ssl": False, "hosts": [host]}})) == {
        "demo.lab/": expected
    }


def test_paths_of_one_host_share_one_ingress() -> None:
    hosts = [
        HOST,
        {"name": "b.lab", "servicePort": 80},
        {**HOST, "path": "/api", "servicePort": 2223, "pathType": "Exact"},
    ]
    objects = release({"services": [HTTP, SSH], "ingress": {"enabled": True, "ssl": False, "hosts": hosts}})
    assert [ingress["metadata"]["name"] for ingress in of_kind(objects, "Ingress")] == ["demo-demo.lab", "demo-b.lab"]
    assert backends(objects) == {
        "demo.lab/": ("demo-http", 80),
        "demo.lab/api": ("demo-ssh", 2223),
        "b.lab/": ("demo-http", 80),
    }


TLS: dict[str, tuple[Values, Any, Any]] = {
    "Traefik's default store": ({}, None, {}),
    "a secret": ({"secretName": "lab-tls"}, "lab-tls", {"secretName": "lab-tls"}),
    "cert-manager": ({"issuer": "letsencrypt"}, "demo-tls", {"secretName": "demo-tls"}),
    "a resolver": ({"certResolver": "le"}, None, {"certResolver": "le"}),
}


@pytest.mark.parametrize("source", TLS)
def test_the_certificate_comes_from_where_the_values_say(source: str) -> None:
    tls, secret, expected = TLS[source]
    route = one(served({"kind": "IngressRoute", "tls": tls}), "IngressRoute", "demo-demo.lab")
    assert route["spec"]["tls"] == expected
    ingress = one(served({"tls": tls}), "Ingress", "demo-demo.lab")
    assert ingress["spec"]["tls"] == [{"hosts": ["demo.lab"], **({"secretName": secret} if secret else {})}]
    assert ingress["metadata"]["annotations"]["traefik.ingress.kubernetes.io/router.tls"] == "true"
    assert ingress["metadata"]["annotations"].get("traefik.ingress.kubernetes.io/router.tls.certresolver") == tls.get(
        "certResolver"
    )


def test_one_certificate_serves_all_the_hosts() -> None:
    spec = one(served({"tls": {"issuer": "ca", "issuerKind": "Issuer"}}, HOST, {"name": "*.lab"}), "Certificate")[
        "spec"
    ]
    assert spec["dnsNames"] == ["demo.lab", "*.lab"]
    assert spec["issuerRef"] == {"group": "cert-manager.io", "kind": "Issuer", "name": "ca"}


@pytest.mark.parametrize("kind", ["Ingress", "IngressRoute"])
def test_http_is_led_to_https_and_to_the_port_that_users_see(kind: str) -> None:
    objects = served({"kind": kind, "httpsPort": 8443, "entryPoints": {"http": "plain"}})
    assert one(objects, "Middleware")["spec"] == {
        "redirectScheme": {"scheme": "https", "permanent": True, "port": "8443"}
    }
    redirect = one(objects, kind, "demo-demo.lab.redirect")
    if kind == "IngressRoute":
        assert redirect["spec"]["entryPoints"] == ["plain"]
        assert redirect["spec"]["routes"][0]["middlewares"] == [{"name": "demo-https-redirect"}]
    else:
        assert redirect["metadata"]["annotations"] == {
            "traefik.ingress.kubernetes.io/router.entrypoints": "plain",
            "traefik.ingress.kubernetes.io/router.middlewares": "apps-demo-https-redirect@kubernetescrd",
        }


@pytest.mark.parametrize("values", [{"redirect": False}, {"ssl": False}, {"className": "nginx"}, {"enabled": False}])
def test_there_is_no_redirect_where_none_is_wanted_or_another_controller_has_its_own(values: Values) -> None:
    objects = served(values)
    assert of_kind(objects, "Middleware") == []
    assert [thing for thing in of_kind(objects, "Ingress") if thing["metadata"]["name"].endswith("redirect")] == []


def test_an_ingress_of_another_class_carries_nothing_of_traefiks() -> None:
    ingress = one(served({"className": "nginx", "annotations": {"a": "b"}}), "Ingress")
    assert ingress["metadata"]["annotations"] == {"a": "b"}
    assert ingress["spec"]["ingressClassName"] == "nginx"


def test_the_owners_annotations_win_over_those_for_traefik() -> None:
    key = "traefik.ingress.kubernetes.io/router.entrypoints"
    assert one(served({"ssl": False, "annotations": {key: "a,b"}}), "Ingress")["metadata"]["annotations"] == {
        key: "a,b"
    }


def test_middlewares_go_by_the_name_that_each_kind_of_route_wants() -> None:
    middlewares = ["auth", "apps-limit@kubernetescrd", "traefik-headers@kubernetescrd", "buffer@file"]
    ingress = one(served({"ssl": False, "middlewares": middlewares}), "Ingress")
    assert ingress["metadata"]["annotations"]["traefik.ingress.kubernetes.io/router.middlewares"] == (
        "apps-auth@kubernetescrd,apps-limit@kubernetescrd,traefik-headers@kubernetescrd,buffer@file"
    )
    route = one(served({"ssl": False, "middlewares": middlewares, "kind": "IngressRoute"}), "IngressRoute")
    assert [ref["name"] for ref in route["spec"]["routes"][0]["middlewares"]] == [
        "auth",
        "limit",
        "traefik-headers@kubernetescrd",
        "buffer@file",
    ]


MATCHES: dict[str, tuple[Values, str]] = {
    "a host": ({}, "Host(`demo.lab`)"),
    "a path and what lies below": ({"path": "/api"}, "Host(`demo.lab`) && (Path(`/api`) || PathPrefix(`/api/`))"),
    "a path with a slash at its end": ({"path": "/api/"}, "Host(`demo.lab`) && (Path(`/api`) || PathPrefix(`/api/`))"),
    "a path alone": ({"path": "/api", "pathType": "Exact"}, "Host(`demo.lab`) && Path(`/api`)"),
    "the root alone": ({"pathType": "Exact"}, "Host(`demo.lab`) && Path(`/`)"),
    "every host below one": ({"name": "*.demo.lab"}, r"HostRegexp(`^[^.]+\.demo\.lab$`)"),
}


@pytest.mark.parametrize("what", MATCHES)
def test_traefik_matches(what: str) -> None:
    host, expected = MATCHES[what]
    route = one(served({"kind": "IngressRoute", "ssl": False}, {**HOST, **host}), "IngressRoute")["spec"]["routes"][0]
    assert route["match"] == expected
    assert ("priority" in route) == expected.startswith("HostRegexp")


@pytest.mark.parametrize(
    "hosts,expected",
    [
        ([{"name": "*.demo.lab"}], "1"),
        ([{"name": "*.demo.lab"}, {"name": "*.demo.lab", "path": "/api"}], None),
        ([{"name": "demo.lab"}], None),
    ],
)
def test_a_wildcard_gives_way_to_a_host_it_covers_on_https_and_where_it_redirects(
    hosts: list[Values], expected: str | None
) -> None:
    ingresses = of_kind(served({}, *hosts), "Ingress")
    found = [
        thing["metadata"]["annotations"].get("traefik.ingress.kubernetes.io/router.priority") for thing in ingresses
    ]
    assert found == [expected, expected]


def test_ssh_goes_through_traefik_by_an_entry_point_of_its_own() -> None:
    routes = [{"name": "ssh", "entryPoint": "ssh", "servicePort": 2223}]
    assert one(release({"services": [SSH], "tcpRoutes": routes}), "IngressRouteTCP")["spec"] == {
        "entryPoints": ["ssh"],
        "routes": [{"match": "HostSNI(`*`)", "services": [{"name": "demo-ssh", "port": 2223}]}],
    }


def test_the_gateway_serves_the_ingresss_hosts_or_its_own() -> None:
    gateway = {"enabled": True, "parentRefs": [{"name": "traefik", "namespace": "traefik"}]}
    both = release({"services": [HTTP], "ingress": {"enabled": True, "hosts": [HOST]}, "gateway": gateway})
    own = release({"services": [HTTP], "gateway": {**gateway, "hosts": [{"name": "own.lab"}]}})
    assert [one(objects, "HTTPRoute")["spec"]["hostnames"] for objects in (both, own)] == [["demo.lab"], ["own.lab"]]
    assert one(own, "HTTPRoute")["spec"]["rules"][0]["backendRefs"] == [{"name": "demo-http", "port": 80}]


def test_each_service_has_its_own_type_ports_and_annotations() -> None:
    objects = release(
        {
            "services": [
                {**HTTP, "targetPort": 8080, "annotations": {"a": True}},
                {
                    "name": "dns",
                    "type": "LoadBalancer",
                    "servicePort": 53,
                    "protocol": "UDP",
                    "loadBalancerIP": "192.168.1.5",
                    "externalTrafficPolicy": "Local",
                    "morePorts": [{"name": "dns-tcp", "servicePort": 53}],
                },
                {"name": "web", "servicePort": 8000, "targetPort": "http"},
            ]
        }
    )
    assert one(objects, "Service", "demo-http")["metadata"]["annotations"] == {"a": "true"}
    dns = one(objects, "Service", "demo-dns")["spec"]
    assert (dns["type"], dns["loadBalancerIP"], dns["externalTrafficPolicy"]) == (
        "LoadBalancer",
        "192.168.1.5",
        "Local",
    )
    assert [(port["name"], port["port"], port["protocol"]) for port in dns["ports"]] == [
        ("dns", 53, "UDP"),
        ("dns-tcp", 53, "TCP"),
    ]
    assert container(objects)["ports"] == [
        {"name": "http", "containerPort": 8080, "protocol": "TCP"},
        {"name": "dns", "containerPort": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "containerPort": 53, "protocol": "TCP"},
    ]


FLUX: dict[str, tuple[Values, Values, Values]] = {
    "a range": ({"semver": "1.4.x"}, {}, {"policy": {"semver": {"range": "1.4.x"}}}),
    "numbers": ({"numerical": "asc"}, {}, {"policy": {"numerical": {"order": "asc"}}}),
    "the alphabet": ({"alphabetical": "desc"}, {}, {"policy": {"alphabetical": {"order": "desc"}}}),
    "a filter": (
        {"filterTags": {"pattern": "^main-(?P<ts>[0-9]+)$", "extract": "$ts"}},
        {},
        {"filterTags": {"pattern": "^main-(?P<ts>[0-9]+)$", "extract": "$ts"}},
    ),
    "an interval": ({"interval": "5m"}, {"interval": "5m"}, {}),
    "digests": ({"digestReflectionPolicy": "Always"}, {}, {"digestReflectionPolicy": "Always", "interval": "1m"}),
    "digests once": ({"digestReflectionPolicy": "IfNotPresent"}, {}, {"digestReflectionPolicy": "IfNotPresent"}),
    "secrets": (
        {"caSecret": "ca", "scanSecret": "scan"},
        {"certSecretRef": {"name": "ca"}, "secretRef": {"name": "scan"}},
        {},
    ),
    "a list of what is passed over": ({"exclusionList": ["^dev-"]}, {"exclusionList": ["^dev-"]}, {}),
    "a stop": ({"suspend": True}, {"suspend": True}, {"suspend": True}),
}


@pytest.mark.parametrize("what", FLUX)
def test_flux_watches_the_image_as_the_values_say(what: str) -> None:
    values, repository, policy = FLUX[what]
    objects = release({"image": {"imagePolicy": True, "registrySecret": "regcred"}, "imagePolicy": values})
    base = {"image": "registry.lab/homelab/demo", "interval": "1m", "secretRef": {"name": "regcred"}}
    assert one(objects, "ImageRepository")["spec"] == {**base, **repository}
    rest = {
        "imageRepositoryRef": {"name": "demo"},
        "policy": {"semver": {"range": ">=0.0.0"}},
        "digestReflectionPolicy": "Never",
    }
    assert one(objects, "ImagePolicy")["spec"] == {**rest, **policy}
    assert {thing["metadata"]["namespace"] for thing in objects if thing["kind"].startswith("Image")} == {"flux-system"}
    assert complaints(objects) == []


# What github.com/Masterminds/semver takes, with which Flux reads a range.
RANGES = [
    "*",
    "1",
    "v1.2.3",
    "1.x",
    "1.4.X",
    "=1.2.3",
    "==1.2.3",
    "!=1.4.3",
    ">=0.0.0 !=1.4.3",
    "^1.2",
    "~1.2.3",
    "~> 1.2",
    "=> 1.2",
    ">= 1.2, < 2",
    ">=1.0.0-0",
    "1.2 - 1.4.5",
    "<1.0 || >=2.0.0-rc.1 <3 || 5.x",
    "1.2.3+build.7",
    " >=1.2.3 ",
    "1||2",
]


@pytest.mark.parametrize("semver", RANGES)
def test_every_form_of_a_range_that_flux_reads_is_taken(semver: str) -> None:
    objects = release({"image": {"imagePolicy": True}, "imagePolicy": {"semver": semver}})
    assert one(objects, "ImagePolicy")["spec"]["policy"] == {"semver": {"range": semver}}


PATTERNS = [r"^v?\d+\.\d+$", "^(?i)main|dev$", "[|]", r"\Qa.b", "a|", "^(?P<ts>[0-9]{1,9})-(?P<rest>.*)$"]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_form_of_a_pattern_that_flux_reads_is_taken(pattern: str) -> None:
    watch = {"filterTags": {"pattern": pattern, "extract": "$1"}, "exclusionList": [pattern]}
    assert (
        one(release({"image": {"imagePolicy": True}, "imagePolicy": watch}), "ImagePolicy")["spec"]["filterTags"][
            "pattern"
        ]
        == pattern
    )


def test_fluxs_objects_stand_where_the_values_say_under_the_name_they_say() -> None:
    objects = release({"image": {"imagePolicy": True}, "imagePolicy": {"namespace": "flux", "name": "shop-demo"}})
    for kind in ("ImageRepository", "ImagePolicy"):
        assert one(objects, kind, "shop-demo")["metadata"]["namespace"] == "flux"
    assert one(objects, "ImagePolicy")["spec"]["imageRepositoryRef"] == {"name": "shop-demo"}


def test_a_file_of_the_release_is_mounted_as_a_folder_or_alone() -> None:
    objects = release(
        {
            "configMaps": {
                "folder": {"mountPath": "/etc/demo", "data": {"a": "1"}, "defaultMode": 493},
                "file": {"mountPath": ["a:/etc/a", "b:/etc/b"], "data": {"a": "1"}, "binaryData": {"b": "eQ=="}},
                "alone": {"data": {"a": "1"}},
            }
        }
    )
    assert [(config["metadata"]["name"], config["data"]) for config in of_kind(objects, "ConfigMap")] == [
        ("demo-alone", {"a": "1"}),
        ("demo-file", {"a": "1"}),
        ("demo-folder", {"a": "1"}),
    ]
    mounts = container(objects)["volumeMounts"]
    assert {mount["mountPath"]: mount.get("subPath") for mount in mounts} == {
        "/etc/demo": None,
        "/etc/a": "a",
        "/etc/b": "b",
    }
    assert all(mount["readOnly"] for mount in mounts)
    assert len(pod_template(objects)["spec"]["volumes"]) == 2


AS_THEY_STAND: dict[str, Any] = {
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
    ],
    "tolerations": [{"key": "node-role", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "gpu", "operator": "In", "values": ["yes"]}]}]
            }
        }
    },
    "hostAliases": [{"ip": "192.168.1.10", "hostnames": ["storage.lan"]}],
    "dnsConfig": {"nameservers": ["1.1.1.1"]},
    "dnsPolicy": "None",
    "priorityClassName": "high",
    "runtimeClassName": "nvidia",
    "hostNetwork": True,
    "shareProcessNamespace": True,
    "terminationGracePeriodSeconds": 1000000,
    "nodeSelector": {"kubernetes.io/hostname": "node1"},
}


def test_what_kubernetes_has_for_pods_reaches_the_pod() -> None:
    pod = pod_template(release(AS_THEY_STAND))["spec"]
    assert {key: pod[key] for key in AS_THEY_STAND} == AS_THEY_STAND


def test_what_kubernetes_has_for_containers_reaches_the_container() -> None:
    probe = {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 5}
    values = {
        "command": ["sh"],
        "args": ["-c", "true\n"],
        "workingDir": "/srv",
        "envFrom": [{"secretRef": {"name": "s"}, "prefix": "X_"}],
        "lifecycle": {"preStop": {"exec": {"command": ["sync"]}}},
        "resources": {"limits": {"memory": "1Gi", "cpu": 1.5}},
        "securityContext": {"readOnlyRootFilesystem": True},
    }
    found = container(
        release({**values, "services": [HTTP], "probes": {"startup": probe, "readiness": probe, "liveness": probe}})
    )
    assert {key: found[key] for key in values} == values
    assert [found[f"{key}Probe"] for key in ("startup", "readiness", "liveness")] == [probe] * 3


def test_containers_before_and_beside_the_application_mount_its_volumes() -> None:
    mount = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    first = {"name": "first", "image": "busybox", **mount}
    beside = {"name": "beside", "image": "busybox", "ports": [{"name": "web", "containerPort": 81}], **mount}
    services = [{**HTTP, "targetPort": "web"}]
    values = {**data({"emptyDir": {}}), "initContainers": [first], "sidecars": [beside], "services": services}
    pod = pod_template(release(values))["spec"]
    assert pod["initContainers"] == [first]
    assert pod["containers"][1:] == [beside]
    assert complaints(release(values)) == []


def test_an_account_of_ones_own_is_made_on_request_and_its_token_mounted_on_request() -> None:
    objects = release({"serviceAccount": {"create": True, "automount": True, "annotations": {"a": "b"}}})
    assert one(objects, "ServiceAccount")["metadata"]["annotations"] == {"a": "b"}
    assert pod_template(objects)["spec"]["serviceAccountName"] == "demo"
    assert pod_template(objects)["spec"]["automountServiceAccountToken"] is True
    assert pod_template(release({"serviceAccount": {"name": "theirs"}}))["spec"]["serviceAccountName"] == "theirs"
    assert "serviceAccountName" not in pod_template(release({}))["spec"]


def test_extra_objects_are_maps_or_text_and_helm_reads_them() -> None:
    objects = release(
        {
            "extraObjects": [
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-a"}},
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Release.Name }}-b'}\n",
            ]
        }
    )
    assert [config["metadata"]["name"] for config in of_kind(objects, "ConfigMap")] == ["demo-a", "demo-b"]


def test_one_text_may_hold_several_extra_objects_or_none() -> None:
    first, second = (f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n" for name in "ab")
    several = f"---\n# the first\n{first}--- # the second\n{second}"
    objects = release({"extraObjects": [several, "{{ if false }}kind: ConfigMap{{ end }}", "# later\n"]})
    assert [config["metadata"]["name"] for config in of_kind(objects, "ConfigMap")] == ["a", "b"]


TESTED: dict[str, tuple[Values, str | None]] = {
    "the first": ({"services": [SSH, {"name": "web", "servicePort": 8080}]}, "telnet://demo-ssh:2223"),
    "the one called http": ({"services": [SSH, HTTP]}, "http://demo-http:80/"),
    "the named one": (
        {"services": [HTTP, {"name": "web", "servicePort": 8080}], "tests": {"service": "web", "path": "/up"}},
        "http://demo-web:8080/up",
    ),
    "none without a service": ({}, None),
    "none without TCP": ({"services": [{**HTTP, "protocol": "UDP"}]}, None),
    "none on request": ({"services": [HTTP], "tests": {"enabled": False}}, None),
}


@pytest.mark.parametrize("what", TESTED)
def test_helm_test_calls_a_service(what: str) -> None:
    values, url = TESTED[what]
    pods = of_kind(release(values), "Pod")
    assert [pod["spec"]["containers"][0]["env"][0]["value"] for pod in pods] == ([url] if url else [])
    assert all(pod["metadata"]["annotations"]["helm.sh/hook"] == "test" for pod in pods)


def test_the_notes_say_how_to_reach_the_application() -> None:
    values = {"services": [HTTP, {**SSH, "type": "LoadBalancer"}], "image": {"imagePolicy": True}}
    text = notes(merged(LEAST, values))
    assert "kubectl -n apps port-forward service/demo-http 8080:80" in text
    assert "Service demo-ssh, port 2223" in text
    assert '# {"$imagepolicy": "flux-system:demo:tag"}' in text
    served_at = notes(merged(LEAST, values, {"ingress": {"enabled": True, "httpsPort": 8443, "hosts": [HOST]}}))
    assert "https://demo.lab:8443/" in served_at
    assert "port-forward" not in served_at
    usual = {"ingress": {"enabled": True, "hosts": [HOST]}}
    assert "https://demo.lab/" in notes(merged(LEAST, values, usual))


def test_the_notes_say_when_hosts_are_written_but_switched_off() -> None:
    hosts = {"services": [HTTP], "ingress": {"hosts": [HOST]}}
    warning = "ingress.enabled is not true"
    assert warning in notes(merged(LEAST, hosts))
    assert warning not in notes(merged(LEAST, hosts, {"ingress": {"enabled": True}}))
    assert warning not in notes(merged(LEAST, {"services": [HTTP]}))


LONG = "a" * 26 + "." + "b" * 26


@pytest.mark.parametrize("name", ["demo", "d", "my.app", LONG, "x" * 53])
@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
def test_no_release_is_called_too_long(name: str, kind: str) -> None:
    values = merged(
        LEAST,
        {
            "kind": kind,
            "services": [HTTP, {"name": "a-long-name-too", "servicePort": 81}],
            "image": {"imagePolicy": True},
            "ingress": {
                "enabled": True,
                "tls": {"issuer": "ca"},
                "hosts": [{**HOST, "name": f"{'c' * 60}.{'d' * 60}.{'e' * 60}.{'f' * 60}"}],
            },
            "configMaps": {"c" * 63: {"mountPath": "/c", "data": {"a": "b"}}},
            "volumes": {"items": {"v" * 63: {"claim": {"size": "1Gi"}, "mountPath": "/v"}}},
        },
    )
    assert complaints(render(values, name=name)) == []


@pytest.mark.parametrize("name", ["2048", "1e3", "0x10", "on", "null", "2001-01-01"])
@pytest.mark.parametrize("kind", ["Ingress", "IngressRoute"])
def test_a_name_that_yaml_would_read_as_something_else_stays_a_name(name: str, kind: str) -> None:
    values = {
        "nameOverride": name,
        "services": [HTTP],
        "serviceAccount": {"name": name},
        "priorityClassName": name,
        "runtimeClassName": name,
        "image": {"registrySecret": name, "imagePolicy": True},
        "imagePolicy": {"name": name, "caSecret": name, "scanSecret": name},
        "ingress": {
            "enabled": True,
            "kind": kind,
            "className": "traefik",
            "tls": {"secretName": name},
            "hosts": [{"name": name}],
        },
        "gateway": {"enabled": True, "parentRefs": [{"name": name}]},
        "podLabels": {name: name},
        "nodeSelector": {name: name},
        "tcpRoutes": [{"name": name, "entryPoint": name, "servicePort": 80}],
        "podAnnotations": {name: name},
        "env": {"A": name},
        "configMaps": {name: {"mountPath": "/c", "data": {name: name}}},
        "workingDir": f"/{name}",
        "volumes": {"items": {name: {"existingClaim": name, "mountPath": f"{name}:/{name}"}}},
    }
    objects = release(values)
    assert [error for thing in objects for error in schema_errors(thing)] == []
    assert complaints(objects) == []
    issued = release({**values, "ingress": {**values["ingress"], "tls": {"issuer": name}}})
    assert one(issued, "Certificate")["spec"]["issuerRef"]["name"] == name
    resolved = release({**values, "ingress": {**values["ingress"], "tls": {"certResolver": name}}})
    assert [error for thing in [*issued, *resolved] for error in schema_errors(thing)] == []


def test_a_path_with_what_opens_a_comment_in_yaml_stays_whole() -> None:
    objects = release({"volumes": {"emptyDir": {}, "mountPath": ["a #b c:/data #1"]}, "workingDir": "/data #1"})
    assert container(objects)["volumeMounts"] == [{"name": "storage", "mountPath": "/data #1", "subPath": "a #b c"}]
    assert container(objects)["workingDir"] == "/data #1"


def test_the_claims_of_a_stateful_set_say_what_they_are() -> None:
    claim = one(release(STATEFUL), "StatefulSet")["spec"]["volumeClaimTemplates"][0]
    assert (claim["apiVersion"], claim["kind"], claim["metadata"]["name"]) == ("v1", "PersistentVolumeClaim", "data")


def test_the_redirect_names_a_port_only_where_users_see_another_one() -> None:
    for port, said in ((443, {}), (8443, {"port": "8443"})):
        objects = release({"services": [HTTP], "ingress": {"enabled": True, "httpsPort": port, "hosts": [HOST]}})
        redirect = {"scheme": "https", "permanent": True, **said}
        assert one(objects, "Middleware")["spec"] == {"redirectScheme": redirect}


def test_names_can_be_chosen() -> None:
    assert one(release({"fullnameOverride": "shop"}), "Deployment")["metadata"]["name"] == "shop"
    named = one(release({"nameOverride": "shop"}), "Deployment")
    assert named["metadata"]["name"] == "demo-shop"
    assert named["spec"]["selector"]["matchLabels"] == {
        "app.kubernetes.io/name": "shop",
        "app.kubernetes.io/instance": "demo",
    }
    assert one(release({"nameOverride": "demo"}), "Deployment")["metadata"]["name"] == "demo"


def test_labels_and_annotations_reach_every_object_and_leave_the_pods_alone() -> None:
    values = {
        "labels": {"team": "home", "gone": None},
        "annotations": {"a": 1},
        "services": [HTTP],
        "podLabels": {"pod": 1},
        "podAnnotations": {"p": True},
    }
    objects = [thing for thing in release(values) if thing["kind"] != "Pod"]
    for metadata in (thing["metadata"] for thing in objects):
        assert metadata["labels"]["team"] == "home" and "gone" not in metadata["labels"]
        assert metadata["annotations"] == {"a": "1"}
    pod = pod_template(objects)["metadata"]
    assert pod == {
        "labels": {"app.kubernetes.io/name": "demo", "app.kubernetes.io/instance": "demo", "pod": "1"},
        "annotations": {"p": "true"},
    }


GUARDED = {"services": [HTTP], "networkPolicy": {"enabled": True}}


@pytest.mark.parametrize("kind", ["Ingress", "IngressRoute"])
def test_a_host_with_a_sign_in_asks_it_before_anything_else_and_another_host_does_not(kind: str) -> None:
    hosts = [{"name": "closed.lab"}, {"name": "closed.lab", "path": "/api"}, {"name": "open.lab", "signIn": False}]
    ingress = {
        "enabled": True,
        "kind": kind,
        "middlewares": ["limit"],
        "signIn": {"enabled": True, "groups": ["a", "b/c"]},
        "hosts": hosts,
    }
    objects = release({**GUARDED, "ingress": ingress})
    (middleware,) = [thing for thing in of_kind(objects, "Middleware") if "forwardAuth" in thing["spec"]]
    assert middleware["metadata"]["name"] == "demo-sign-in"
    assert (
        middleware["spec"]["forwardAuth"]["address"]
        == "http://sign-in-http.apps.svc.cluster.local/?allowed_groups=a%2Cb%2Fc"
    )
    asked = {}
    for thing in of_kind(objects, kind):
        if kind == "Ingress":
            host, found = (
                thing["spec"]["rules"][0]["host"],
                thing["metadata"]["annotations"]["traefik.ingress.kubernetes.io/router.middlewares"].split(","),
            )
        else:
            route = thing["spec"]["routes"][-1]
            host, found = route["match"].split("`")[1], [one["name"] for one in route["middlewares"]]
        if not any("redirect" in one for one in found):
            asked[host] = [one.removeprefix("apps-").removesuffix("@kubernetescrd") for one in found]
    assert asked == {"closed.lab": ["demo-sign-in", "limit"], "open.lab": ["limit"]}
    assert complaints(objects) == []


def test_without_a_sign_in_there_is_no_trace_of_one() -> None:
    for values in ({}, {"signIn": {"enabled": False, "groups": ["a"]}}):
        assert "forwardAuth" not in json.dumps(served(values)) and "sign-in" not in json.dumps(served(values))
