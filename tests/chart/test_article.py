"""The article's values keep their meaning; the lab's hardest application, GitLab, fits the chart."""

from __future__ import annotations

from tests.chart.support.api_rules import complaints
from tests.chart.support.releases import ARTICLE, GITLAB
from tests.chart.support.rendering import container, notes, of_kind, one, pod_template, render
from tests.support.schemas import schema_errors


def test_the_articles_values_install_as_they_stand() -> None:
    objects = render(ARTICLE, name="gitlab")
    assert [error for thing in objects for error in schema_errors(thing)] == []
    assert complaints(objects) == []


def test_each_block_of_the_articles_values_installs_beside_the_image_alone() -> None:
    blocks = [{"image": ARTICLE["image"], key: ARTICLE[key]} for key in ("env", "volumes", "services")]
    for block in [*blocks, {"image": ARTICLE["image"], "services": ARTICLE["services"], "ingress": ARTICLE["ingress"]}]:
        assert complaints(render(block)) == []


def test_the_articles_sub_paths_lie_on_its_nfs_server() -> None:
    pod = pod_template(render(ARTICLE))["spec"]
    assert pod["volumes"] == [{"name": "storage", "nfs": {"server": "storage.lan", "path": "/storage/gitlab"}}]
    assert [(mount["subPath"], mount["mountPath"]) for mount in pod["containers"][0]["volumeMounts"]] == [
        ("config", "/etc/gitlab"),
        ("logs", "/var/log/gitlab"),
        ("data", "/var/opt/gitlab"),
    ]


def test_the_articles_data_is_never_written_by_two_pods_at_once() -> None:
    assert one(render(ARTICLE), "Deployment")["spec"]["strategy"] == {"type": "Recreate"}


def test_the_articles_hosts_lead_to_the_ports_that_they_name() -> None:
    objects = render(ARTICLE, name="gitlab")
    routes = {
        ingress["spec"]["rules"][0]["host"]: ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
        for ingress in of_kind(objects, "Ingress")
        if not ingress["metadata"]["name"].endswith(".redirect")
    }
    assert routes == {
        "gitlab.lab": {"name": "gitlab-http", "port": {"number": 80}},
        "registry.lab": {"name": "gitlab-port-5050", "port": {"number": 5050}},
    }
    assert one(objects, "Service", "gitlab-ssh")["spec"]["ports"] == [
        {"name": "ssh", "port": 2223, "targetPort": 22, "protocol": "TCP"}
    ]
    assert one(objects, "Service", "gitlab-ssh")["spec"]["type"] == "LoadBalancer"
    assert "Service gitlab-port-5050" in notes(ARTICLE, name="gitlab")


def test_the_articles_registry_secret_pulls_for_the_pod_and_for_the_scan() -> None:
    objects = render(ARTICLE)
    assert pod_template(objects)["spec"]["imagePullSecrets"] == [{"name": "regcred"}]
    scan = one(objects, "ImageRepository")
    assert (scan["apiVersion"], scan["metadata"]["namespace"]) == ("image.toolkit.fluxcd.io/v1", "flux-system")
    assert scan["spec"] == {
        "image": "registry.lab/groupname/appimage",
        "interval": "1m",
        "secretRef": {"name": "regcred"},
    }
    assert one(objects, "ImagePolicy")["spec"]["policy"] == {"semver": {"range": ">=0.0.0"}}


def test_gitlab_installs_with_its_volumes_hosts_and_ssh_side_by_side() -> None:
    objects = render(GITLAB, name="gitlab", namespace="gitlab")
    assert [error for thing in objects for error in schema_errors(thing)] == []
    assert complaints(objects) == []
    assert sorted((thing["kind"], thing["metadata"]["name"]) for thing in objects) == [
        ("Certificate", "gitlab-tls"),
        ("ConfigMap", "gitlab-config"),
        ("Deployment", "gitlab"),
        ("IngressRoute", "gitlab-gitlab.lab"),
        ("IngressRoute", "gitlab-gitlab.lab.redirect"),
        ("IngressRoute", "gitlab-registry.lab"),
        ("IngressRoute", "gitlab-registry.lab.redirect"),
        ("IngressRouteTCP", "gitlab-ssh"),
        ("Middleware", "gitlab-https-redirect"),
        ("PersistentVolumeClaim", "gitlab-data"),
        ("Pod", "gitlab-test-call"),
        ("Service", "gitlab-http"),
        ("Service", "gitlab-registry"),
        ("Service", "gitlab-ssh"),
    ]
    assert {
        mount["mountPath"]: (mount["name"], mount.get("subPath")) for mount in container(objects)["volumeMounts"]
    } == {
        "/etc/gitlab": ("files", "config"),
        "/var/log/gitlab": ("files", "logs"),
        "/var/opt/gitlab": ("data", None),
        "/dev/shm": ("shm", None),
        "/etc/gitlab-lab": ("configmap-config", None),
        "/etc/gitlab/trusted-certs/lab-ca.crt": ("ca", "ca.crt"),
    }


def test_nothing_is_demanded_of_an_image_that_runs_as_root() -> None:
    pod = pod_template(render(GITLAB))["spec"]
    assert "securityContext" not in pod and "securityContext" not in pod["containers"][0]
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
