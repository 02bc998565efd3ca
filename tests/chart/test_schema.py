"""The schema: strict to its leaves, and its errors name the value."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from helm_python.errors import HelmValuesError
from kubernetes_validate.utils import schema_contents

from tests.chart.support.releases import ARTICLE, merged
from tests.chart.support.rendering import DEFAULTS, SCHEMA, chart, manifests, refusal
from tests.chart.support.schema_places import Place, Walker

WALKER = Walker(SCHEMA)
PLACES = list(WALKER.places())
OBJECTS = [
    place for place in PLACES if place.schema.get("properties") and place.schema["additionalProperties"] is False
]
WITH_REQUIRED = [place for place in OBJECTS if place.schema.get("required")]
# Free by nature: what parent charts hand down, and objects of kinds that the chart does not know.
FREE = ["global", "extraObjects.0"]


def schema_refusal(values: Any) -> str:
    try:
        chart().validate_schema(values)
    except HelmValuesError as error:
        return str(error)
    raise AssertionError(f"the schema accepts {values}")


def of_another_type(schema: dict[str, Any]) -> Any:
    """Return a value of a type that the schema does not take."""
    types = {type(value) for value in schema["enum"]} if "enum" in schema else set()
    allowed = types or {
        {
            "object": dict,
            "array": list,
            "string": str,
            "integer": int,
            "number": float,
            "boolean": bool,
            "null": type(None),
        }[name]
        for name in ([schema["type"]] if isinstance(schema["type"], str) else schema["type"])
    }
    if float in allowed:
        allowed.add(int)
    return next(value for value in ({"wrong": True}, [[]], True, 0.5, "wrong", 7) if type(value) not in allowed)


def test_the_schema_is_a_legal_one_of_draft_7_which_both_helm_3_and_helm_4_read() -> None:
    assert SCHEMA["$schema"] == "http://json-schema.org/draft-07/schema#"
    jsonschema.Draft7Validator.check_schema(SCHEMA)


def test_every_object_of_the_schema_names_its_keys_or_the_type_of_its_entries() -> None:
    loose = [
        str(place) for place in PLACES if place.schema.get("additionalProperties", "items" in place.schema) is True
    ]
    assert [place for place in loose if place not in FREE and "additionalProperties" in place] == []
    maps = [place for place in PLACES if "additionalProperties" in place.schema]
    assert [str(place) for place in maps if place.schema["additionalProperties"] is True] == FREE
    typed = [place for place in maps if isinstance(place.schema["additionalProperties"], dict)]
    assert [str(place) for place in typed if "propertyNames" not in place.schema] == []


def test_every_definition_is_used() -> None:
    used = {id(place.schema) for place in PLACES}
    text = repr(dict(SCHEMA))
    assert [
        name
        for name, value in SCHEMA["definitions"].items()
        if id(value) not in used and f"'#/definitions/{name}'" not in text
    ] == []


@pytest.mark.parametrize("place", OBJECTS, ids=str)
def test_a_misspelt_value_is_refused_by_name(place: Place) -> None:
    wrong = {f"{name}Z": WALKER.least(value) for name, value in place.schema["properties"].items()}
    complaint = schema_refusal(WALKER.around(place.steps, {**WALKER.required(place.schema), **wrong}))
    assert [name for name in wrong if f"'{name}'" not in complaint] == []


@pytest.mark.parametrize("place", OBJECTS, ids=str)
def test_a_value_of_another_type_is_refused_by_name(place: Place) -> None:
    wrong = {name: of_another_type(WALKER.resolve(value)) for name, value in place.schema["properties"].items()}
    complaint = schema_refusal(WALKER.around(place.steps, wrong))
    where = "".join(f"/{name}" for _, name in place.steps)
    assert [name for name in wrong if f"'{where}/{name}'" not in complaint] == []


@pytest.mark.parametrize("place", OBJECTS, ids=str)
def test_a_text_of_another_form_is_refused_by_name(place: Place) -> None:
    wrong = {}
    for name, value in place.schema["properties"].items():
        schema = WALKER.resolve(value)
        if "pattern" in schema or "enum" in schema:
            wrong[name] = "no\nsuch: `form`"
    if wrong:
        complaint = schema_refusal(WALKER.around(place.steps, {**WALKER.required(place.schema), **wrong}))
        assert [name for name in wrong if f"/{name}'" not in complaint] == []


@pytest.mark.parametrize("place", WITH_REQUIRED, ids=str)
def test_a_missing_value_is_refused_by_name(place: Place) -> None:
    complaint = schema_refusal(WALKER.around(place.steps, {}))
    assert [name for name in place.schema["required"] if f"'{name}'" not in complaint] == []


@pytest.mark.parametrize(
    "place", [p for p in PLACES if isinstance(p.schema.get("additionalProperties"), dict)], ids=str
)
def test_an_entry_of_another_type_is_refused_by_the_name_that_the_owner_gave_it(place: Place) -> None:
    entry = of_another_type(WALKER.resolve(place.schema["additionalProperties"]))
    where = "".join(f"/{name}" for _, name in place.steps)
    assert f"'{where}/some-name'" in schema_refusal(WALKER.around(place.steps, {"some-name": entry}))


@pytest.mark.parametrize("place", [place for place in PLACES if "items" in place.schema], ids=str)
def test_an_item_of_another_type_is_refused_by_its_place(place: Place) -> None:
    item = of_another_type(WALKER.resolve(place.schema["items"]))
    where = "".join(f"/{name}" for _, name in place.steps)
    assert f"'{where}/0'" in schema_refusal(WALKER.around(place.steps, [item]))


def paths(values: dict[str, Any], above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for key, value in values.items():
        found.append((*above, key))
        found += paths(value, (*above, key)) if isinstance(value, dict) else []
    return found


@pytest.mark.parametrize("path", paths(DEFAULTS), ids=".".join)
@pytest.mark.deep(keep=40)
def test_a_default_can_be_taken_away_with_null_as_flux_users_do(path: tuple[str, ...]) -> None:
    nothing: Any = None
    for key in reversed(path):
        nothing = {key: nothing}
    needed = {
        ("image",): "image.repository",
        ("image", "repository"): "image.repository",
        ("image", "tag"): "image.tag",
        ("services",): "ingress.hosts[0]",
        ("ingress", "hosts"): "ingress.hosts",
    }
    if path in needed:
        assert f"\n  - {needed[path]} " in refusal(merged(ARTICLE, nothing)).replace(".servicePort", " ")
    else:
        assert manifests(merged(ARTICLE, nothing))


# What Kubernetes has and the chart leaves out: for Windows, behind a feature gate, or of no use without what is.
LEFT_OUT = {
    "container": {"resizePolicy", "restartPolicyRules", "volumeDevices"},
    "envVarSource": {"fileKeyRef"},
    "grpcAction": {"mode"},
    "httpGetAction": {"protocol"},
    "lifecycle": {"stopSignal"},
    "podSecurityContext": {"windowsOptions"},
    "resourceRequirements": {"claims"},
    "securityContext": {"procMount", "windowsOptions"},
    "volumeMount": {"bindMountOptions"},
}
TYPES = {
    "affinity": "Affinity",
    "capabilities": "Capabilities",
    "container": "Container",
    "containerPort": "ContainerPort",
    "envFromSource": "EnvFromSource",
    "envVar": "EnvVar",
    "envVarSource": "EnvVarSource",
    "execAction": "ExecAction",
    "grpcAction": "GRPCAction",
    "hostAlias": "HostAlias",
    "httpGetAction": "HTTPGetAction",
    "lifecycle": "Lifecycle",
    "lifecycleHandler": "LifecycleHandler",
    "nodeAffinity": "NodeAffinity",
    "podAffinity": "PodAffinity",
    "podAffinityTerm": "PodAffinityTerm",
    "podDNSConfig": "PodDNSConfig",
    "podSecurityContext": "PodSecurityContext",
    "probe": "Probe",
    "resourceRequirements": "ResourceRequirements",
    "securityContext": "SecurityContext",
    "tcpSocketAction": "TCPSocketAction",
    "toleration": "Toleration",
    "topologySpreadConstraint": "TopologySpreadConstraint",
    "volumeMount": "VolumeMount",
}


@pytest.fixture(scope="session")
def kubernetes() -> dict[str, Any]:
    return schema_contents("kubernetes-json-schema/v1.37.0-local-strict/_definitions.json", "1.37")["$defs"]


@pytest.mark.parametrize("name", TYPES)
def test_what_is_handed_to_kubernetes_as_it_stands_has_the_fields_that_kubernetes_has(
    name: str, kubernetes: Any
) -> None:
    theirs = set(kubernetes[f"io.k8s.api.core.v1.{TYPES[name]}"]["properties"])
    assert set(SCHEMA["definitions"][name]["properties"]) == theirs - LEFT_OUT.get(name, set())
