"""A provider that speaks the engines' own protocol, with a schema from a file: what OpenTofu refuses, it refuses here too.

The engines find it by TF_REATTACH_PROVIDERS, as a provider that is being debugged, so nothing is installed and one process serves
all commands of a test. What resources do is up to a Backend.
"""

from __future__ import annotations

import json
import os
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import grpc
from tf.gen import tfplugin_pb2 as pb
from tf.gen import tfplugin_pb2_grpc as rpc
from tf.types import Unknown
from tf.utils import Diagnostics, read_dynamic_value, to_dynamic_value

State = dict[str, Any]


class Refused(Exception):  # noqa: N818 - what a provider says to the engine
    """What the provider says instead of doing it."""


class Backend:
    """What is behind a provider's resources.

    Attributes:
        resources: the schema of each, as aws_schema.json writes them.
        settings: that of the provider itself.
        data: those of its data sources.
        replaced_by: by resource, the arguments that make another one of it.
    """

    resources: ClassVar[Mapping[str, Any]] = {}
    settings: ClassVar[Mapping[str, Any]] = {"attributes": {}}
    data: ClassVar[Mapping[str, Any]] = {}
    replaced_by: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def configure(self, settings: State) -> None:
        """Take the provider's own settings."""

    def write(self, kind: str, planned: State, before: State | None) -> State:
        """Make a resource, or change it; return its whole state."""
        raise NotImplementedError

    def read(self, kind: str, state: State) -> State | None:
        """Return what is there now; nothing if it is gone."""
        raise NotImplementedError

    def delete(self, kind: str, state: State) -> None:
        """Remove a resource."""
        raise NotImplementedError

    def look_up(self, kind: str, config: State) -> State:
        """Return the state of a data source."""
        raise NotImplementedError


def _type(written: Any) -> bytes:
    return json.dumps(written).encode()


def _block(schema: Mapping[str, Any]) -> pb.Schema.Block:
    attributes = []
    for name, about in schema.get("attributes", {}).items():
        required, read_only = about.get("required", False), about.get("read_only", False)
        computed = about.get("computed", False)
        flags = {"required": required, "optional": not required and not read_only, "computed": computed}
        attributes.append(pb.Schema.Attribute(name=name, type=_type(about["type"]), **flags))
    blocks = [
        pb.Schema.NestedBlock(
            type_name=name,
            block=_block(about),
            nesting=pb.Schema.NestedBlock.NestingMode.LIST,
            min_items=1 if about["required"] else 0,
        )
        for name, about in schema.get("blocks", {}).items()
    ]
    return pb.Schema.Block(attributes=attributes, block_types=blocks)


def _schema(schema: Mapping[str, Any]) -> pb.Schema:
    return pb.Schema(block=_block(schema), version=0)


def _told(answer: Callable[..., Any]) -> Callable[..., Any]:
    """Have what goes wrong shown by the engine, whose user would otherwise see that the plug-in crashed."""

    def answering(self: Servicer, request: Any, context: Any) -> Any:
        said = Diagnostics()
        try:
            return answer(self, request, said)
        except Refused as why:
            said.add_error(str(why))
        except Exception:  # noqa: BLE001 - the test sees it in the engine's words
            said.add_error("the stand-in failed", traceback.format_exc())
        return RESPONSES[answer.__name__](diagnostics=said.to_pb())

    return answering


RESPONSES = {
    "ConfigureProvider": pb.ConfigureProvider.Response,
    "ReadResource": pb.ReadResource.Response,
    "PlanResourceChange": pb.PlanResourceChange.Response,
    "ApplyResourceChange": pb.ApplyResourceChange.Response,
    "ReadDataSource": pb.ReadDataSource.Response,
}


class Servicer(rpc.ProviderServicer):
    """The protocol's server (tfplugin6)."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    def GetProviderSchema(self, request: Any, context: Any) -> Any:
        return pb.GetProviderSchema.Response(
            provider=_schema(self.backend.settings),
            resource_schemas={name: _schema(one) for name, one in self.backend.resources.items()},
            data_source_schemas={name: _schema(one) for name, one in self.backend.data.items()},
        )

    def ValidateProviderConfig(self, request: Any, context: Any) -> Any:
        return pb.ValidateProviderConfig.Response()

    def ValidateResourceConfig(self, request: Any, context: Any) -> Any:
        return pb.ValidateResourceConfig.Response()

    def ValidateDataResourceConfig(self, request: Any, context: Any) -> Any:
        return pb.ValidateDataResourceConfig.Response()

    def UpgradeResourceState(self, request: Any, context: Any) -> Any:
        return pb.UpgradeResourceState.Response(upgraded_state=to_dynamic_value(json.loads(request.raw_state.json)))

    def StopProvider(self, request: Any, context: Any) -> Any:
        return pb.StopProvider.Response()

    @_told
    def ConfigureProvider(self, request: Any, said: Diagnostics) -> Any:
        self.backend.configure(read_dynamic_value(request.config))
        return pb.ConfigureProvider.Response()

    @_told
    def ReadResource(self, request: Any, said: Diagnostics) -> Any:
        found = self.backend.read(request.type_name, read_dynamic_value(request.current_state))
        return pb.ReadResource.Response(new_state=_value(found))

    @_told
    def PlanResourceChange(self, request: Any, said: Diagnostics) -> Any:
        kind = request.type_name
        before, proposed = read_dynamic_value(request.prior_state), read_dynamic_value(request.proposed_new_state)
        if proposed is None:
            return pb.PlanResourceChange.Response(planned_state=_value(None))
        attributes = self.backend.resources[kind]["attributes"]
        for name, about in attributes.items():
            if before is None and proposed[name] is None and about.get("computed"):
                proposed[name] = Unknown
        replacing = self.backend.replaced_by.get(kind, ())
        changed = [name for name in replacing if before is not None and before[name] != proposed[name]]
        paths = [pb.AttributePath(steps=[pb.AttributePath.Step(attribute_name=name)]) for name in changed]
        return pb.PlanResourceChange.Response(planned_state=_value(proposed), requires_replace=paths)

    @_told
    def ApplyResourceChange(self, request: Any, said: Diagnostics) -> Any:
        before, planned = read_dynamic_value(request.prior_state), read_dynamic_value(request.planned_state)
        if planned is None:
            self.backend.delete(request.type_name, before)
            return pb.ApplyResourceChange.Response(new_state=_value(None))
        made = self.backend.write(request.type_name, planned, before)
        left = {name: None for name, value in made.items() if value is Unknown}
        return pb.ApplyResourceChange.Response(new_state=_value(made | left))

    @_told
    def ReadDataSource(self, request: Any, said: Diagnostics) -> Any:
        return pb.ReadDataSource.Response(
            state=_value(self.backend.look_up(request.type_name, read_dynamic_value(request.config)))
        )


def _value(state: State | None) -> Any:
    # The wire's null, which the library leaves out.
    return pb.DynamicValue(msgpack=b"\xc0") if state is None else to_dynamic_value(state)


@contextmanager
def serving(backends: Mapping[str, Backend]) -> Iterator[str]:
    """Serve providers by their full names; yield what TF_REATTACH_PROVIDERS has to be."""
    servers, addresses = [], {}
    with tempfile.TemporaryDirectory(prefix="providers-") as folder:
        try:
            for number, (name, backend) in enumerate(backends.items()):
                socket = Path(folder) / f"{number}.sock"
                server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
                rpc.add_ProviderServicer_to_server(Servicer(backend), server)
                server.add_insecure_port(f"unix://{socket}")
                server.start()
                servers.append(server)
                address = {"Network": "unix", "String": str(socket)}
                addresses[name] = {
                    "Protocol": "grpc",
                    "ProtocolVersion": 6,
                    "Pid": os.getpid(),
                    "Test": True,
                    "Addr": address,
                }
            yield json.dumps(addresses)
        finally:
            for server in servers:
                server.stop(grace=None).wait()
