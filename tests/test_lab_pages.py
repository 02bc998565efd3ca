"""The pages in a lab's docs/: the list has each, links lead somewhere, and the map says what the rendered objects say."""

from __future__ import annotations

import re

import pytest

from tests.support.cluster import Lab

ROW = re.compile(r"^\| (.+?) \|", re.MULTILINE)


def page(lab: Lab, name: str) -> str:
    return (lab.path / "docs" / name).read_text(encoding="utf-8")


def rows(lab: Lab, heading: str) -> list[str]:
    """Return the first cells of the table below a heading of the map."""
    text = page(lab, "map.md").split(f"## {heading}\n")[1].split("\n## ")[0]
    return [cell.replace("`", "").replace("\\", "") for cell in ROW.findall(text)[2:]]


def test_the_list_names_every_page_and_every_link_leads_somewhere(lab: Lab) -> None:
    names = {file.name for file in (lab.path / "docs").glob("*.md")} - {"README.md"}
    assert names == {link for link in re.findall(r"\]\(([^)]+)\)", page(lab, "README.md")) if not link.startswith("..")}
    for name in names | {"README.md"}:
        for link in re.findall(r"\]\(([^):#]+)\)", page(lab, name)):
            assert (lab.path / "docs" / link).resolve().exists(), (name, link)
        assert "{{" not in page(lab, name) and "{%" not in page(lab, name) and "\n\n\n" not in page(lab, name), name


def test_the_map_has_every_namespace_of_the_labs_objects_and_no_other(lab: Lab) -> None:
    objects = [*lab.objects, *lab.components]
    there = {one["metadata"]["namespace"] for one in objects if one["metadata"].get("namespace")}
    there |= {one["metadata"]["name"] for one in objects if one["kind"] == "Namespace"}
    # Kubernetes' own is there in any case; and cert-manager's, if the lab makes only an issuer for it.
    shown = set(rows(lab, "Namespaces"))
    assert there <= shown <= there | {"kube-system", "cert-manager"}


def test_the_map_has_every_host_that_a_route_of_the_lab_names(lab: Lab) -> None:
    hosts = {rule["host"] for one in lab.objects if one["kind"] == "Ingress" for rule in one["spec"]["rules"]}
    for one in lab.objects:
        if one["kind"] == "IngressRoute":
            hosts |= {
                host for route in one["spec"]["routes"] for host in re.findall(r"Host\(`([^`]+)`\)", route["match"])
            }
    assert set(rows(lab, "Hosts")) == hosts


def test_the_map_has_every_port_that_is_open_to_the_outside(lab: Lab) -> None:
    services = [
        one
        for one in lab.objects
        if one["kind"] == "Service" and one["spec"].get("type") in ("LoadBalancer", "NodePort")
    ]
    ports = {str(port.get("nodePort") or port["port"]) for one in services for port in one["spec"]["ports"]}
    text = rows(lab, "Ports")
    assert ports <= set(text), "what a Service opens"
    assert {str(lab.answers["https_port"]), "80", str(lab.answers["ssh_port"])} <= set(text)
    inside = {
        str(port)
        for one in lab.objects
        if one["kind"] == "Service" and one["metadata"]["name"] == "gitlab"
        for port in (p["targetPort"] for p in one["spec"]["ports"])
    }
    assert inside <= {number for cell in text for number in cell.split(", ")}


@pytest.mark.parametrize("heading", ["Hosts", "Ports", "Namespaces"])
def test_no_row_of_the_map_is_there_twice(lab: Lab, heading: str) -> None:
    found = rows(lab, heading)
    assert found and len(found) == len(set(found))
