"""What no schema can say: each contradiction is refused, with the value's name and what to do about it."""

from __future__ import annotations

import re
from functools import cache

import pytest

from tests.chart.support.releases import HTTP, LEAST, REFUSED, merged
from tests.chart.support.rendering import CHART, notes, refusal

HOSTS = [{"name": "demo.lab", "servicePort": 80}, {"name": "registry.lab", "servicePort": 5050}]


@cache
def complaint_about(what: str) -> str:
    """Return why Helm refuses the values of a case; two tests ask."""
    return refusal(merged(LEAST, REFUSED[what][0]))


# On one worker, so that each case is rendered once.
@pytest.mark.xdist_group("chart-refusals")
@pytest.mark.parametrize("what", REFUSED)
def test_a_contradiction_is_refused_with_the_values_name_and_the_way_out(what: str) -> None:
    _, name, way_out = REFUSED[what]
    complaint = complaint_about(what)
    problem = next((line for line in complaint.splitlines() if line.startswith(f"  - {name}")), None)
    assert problem, complaint
    assert way_out in problem


def test_all_problems_are_told_at_once_under_the_releases_name() -> None:
    wrong = {"image": {"tag": 1.1}, "services": [{**HTTP, "targetPort": "web"}], "strategy": "OnDelete"}
    complaint = refusal(wrong, name="shop")
    assert "The values of the release shop cannot work:" in complaint
    assert len(re.findall(r"^  - ", complaint, re.MULTILINE)) == 4


@pytest.mark.xdist_group("chart-refusals")
def test_every_message_of_the_chart_has_a_case_here() -> None:
    said = "\n".join(map(complaint_about, REFUSED)).splitlines()
    silent = []
    for file in sorted(CHART.glob("templates/checks/_*.tpl")):
        text = re.sub(r"\{\{/\*.*?\*/\}\}", "", file.read_text(encoding="utf-8"), flags=re.DOTALL)
        for line in map(str.strip, text.splitlines()):
            if line and not line.startswith("{{-"):
                parts = re.split(r"(\{\{.*?\}\})", line)
                pattern = re.compile(
                    "  - " + "".join(".*" if part.startswith("{{") else re.escape(part) for part in parts)
                )
                silent += [] if any(pattern.fullmatch(one) for one in said) else [f"{file.name}: {line}"]
    assert silent == []


# The article's shape: one container that serves several hosts on several ports, of which services names one.
def test_a_port_that_only_a_host_names_is_added_where_another_host_is_found_and_the_notes_say_so() -> None:
    text = notes(merged(LEAST, {"services": [HTTP], "ingress": {"enabled": True, "hosts": HOSTS}}))
    assert "Service demo-port-5050, port 5050 of the container" in text


@pytest.mark.parametrize("repository", ["nginx:1.27", "https://nginx", "Nginx"])
def test_a_repository_with_a_tag_a_scheme_or_capitals_is_refused_by_the_schema(repository: str) -> None:
    assert "repository" in refusal(merged(LEAST, {"image": {"repository": repository}}))
