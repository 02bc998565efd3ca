"""Every lab of tests/answers/valid, and drawn ones, before a real API server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from hooks.update import security
from tests.chart.support.rendering import render
from tests.cluster.acceptance import pod_security, refusals
from tests.cluster.conftest import Worlds
from tests.cluster.labs import make_lab
from tests.cluster.paths import CLUSTER
from tests.cluster.world import World
from tests.support.cluster import Lab, read_lab
from tests.support.depth import every
from tests.support.rendering import VALID, recorded_answers
from tests.test_hostile_answers import accepted, hostile_answers

pytestmark = pytest.mark.xdist_group("defaults")
LEVELS = yaml.safe_load((CLUSTER / "pod_security.yml").read_text(encoding="utf-8"))
DRAWN = 100 if every() else 5


@pytest.fixture
def world(worlds: Worlds) -> World:
    """Return a cluster that knows every kind of which a lab has objects: Flux's too."""
    found = worlds.get("defaults")
    components = read_lab(found.lab, found.answers).components
    found.plane.apply("\n---\n".join(json.dumps(thing) for thing in components))
    return found


@pytest.fixture(scope="module")
def labs(lab_of: Callable[..., Path]) -> Callable[[str], Lab]:
    """Return what reads a lab of tests/answers/valid, rendered once."""
    known: dict[str, Lab] = {}

    def read(name: str) -> Lab:
        if name not in known:
            path = lab_of(name)
            known[name] = read_lab(path, recorded_answers(path))
        return known[name]

    return read


@pytest.mark.parametrize("name", [file.stem for file in VALID])
def test_the_api_server_accepts_every_object_strictly(world: World, labs: Callable[[str], Lab], name: str) -> None:
    assert refusals(world.plane, labs(name)) == []


def test_the_api_server_accepts_every_object_of_drawn_labs(world: World, tmp_path: Path) -> None:
    """Answers with hostile text in them, as far as the wizard takes it."""
    count = 0

    @given(hostile_answers())
    @settings(
        max_examples=DRAWN,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
        database=None,
    )
    def each_is_accepted(drawn: dict[str, Any]) -> None:
        nonlocal count
        count += 1
        path = make_lab(tmp_path / "template", tmp_path / f"lab-{count}", accepted(drawn))
        assert refusals(world.plane, read_lab(path, recorded_answers(path))) == []

    each_is_accepted()


def test_a_wrong_object_is_noticed(world: World, labs: Callable[[str], Lab]) -> None:
    """A field that no schema knows, and a rule that only the API server's CEL has."""
    lab = labs("defaults")
    kustomization = next(
        t for t in lab.objects if t["kind"] == "Kustomization" and t["apiVersion"].startswith("kustomize.toolkit")
    )
    kustomization["spec"]["intervall"] = "1m"
    assert any("intervall" in line for line in refusals(world.plane, lab))
    del kustomization["spec"]["intervall"]
    release = next(t for t in lab.objects if t["kind"] == "HelmRelease")
    chart = release["spec"].pop("chart")
    assert any("chart" in line for line in refusals(world.plane, lab))
    release["spec"]["chart"] = chart


# What may stand in a release at each place, beside what keeps to the standard; None leaves it out.
CONTEXT = {
    "runAsNonRoot": [True, False, None],
    "runAsUser": [None, 1000, 0],
    "seccompProfile": [None, {"type": "RuntimeDefault"}, {"type": "Unconfined"}],
}
OF_CONTAINERS = {
    "allowPrivilegeEscalation": [False, True, None],
    "capabilities": [{"drop": ["ALL"]}, {"drop": ["CHOWN"]}, None],
}
VOLUMES = {
    "emptyDir": {"sizeLimit": "1Gi"},
    "claim": {"size": "1Gi"},
    "nfs": {"server": "storage.lan", "path": "/a"},
    "hostPath": {"path": "/a"},
}
CONTAINER = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


@st.composite
def releases(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a release's values that bear on Pod Security: of what keeps to the standard, up to three things are changed."""
    values: dict[str, Any] = {
        "podSecurityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "securityContext": dict(CONTAINER),
        "sidecars": [{"name": "beside", "image": "example.com/beside:1", "securityContext": dict(CONTAINER)}],
    }
    places = [(values["podSecurityContext"], CONTEXT)]
    places += [
        (context, CONTEXT | OF_CONTAINERS)
        for context in (values["securityContext"], values["sidecars"][0]["securityContext"])
    ]
    for _ in range(draw(st.integers(0, 3))):
        context, table = draw(st.sampled_from(places))
        name = draw(st.sampled_from(sorted(table)))
        context[name] = draw(st.sampled_from(table[name]))
    for context, _ in places:
        for name in [name for name, value in context.items() if value is None]:
            del context[name]
    source = draw(st.sampled_from(sorted(VOLUMES) if draw(st.booleans()) else ["claim", "emptyDir"]))
    values["volumes"] = {"items": {"data": {source: VOLUMES[source], "mountPath": "/data"}}}
    if draw(st.integers(0, 9)) == 0:
        values["hostNetwork"] = True
    return values


def test_the_update_names_exactly_what_kubernetes_would_refuse(world: World) -> None:
    """What the report says by the values of a release is what the API server says of its pods."""
    seen: set[bool] = set()

    @given(releases())
    @settings(max_examples=DRAWN * 6, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    def agree(values: dict[str, Any]) -> None:
        objects = render({"image": {"repository": "example.com/app", "tag": "1.0.0"}, **values})
        refused = pod_security(world.plane, Lab(Path(), {}, objects), "restricted")
        told = list(security.missing({**values, "networkPolicy": {"enabled": True}}))
        assert bool(refused) == bool(told), (values, refused, told)
        seen.add(bool(told))

    agree()
    assert seen == {True, False}


@pytest.mark.parametrize("level", ["baseline", "restricted"])
def test_what_pod_security_says_is_listed_with_a_reason(world: World, labs: Callable[[str], Lab], level: str) -> None:
    found: set[str] = set()
    for file in VALID:
        lab = labs(file.stem)
        broken = set(pod_security(world.plane, lab, level))
        assert lab.answers["app_security"] == "warned" or "Deployment demo" not in broken, file.stem
        found |= broken
    assert found == set(LEVELS[level]), "tests/cluster/pod_security.yml lists what breaks the level, with a reason each"
    assert all(LEVELS[level].values())
