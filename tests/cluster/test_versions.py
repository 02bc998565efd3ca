"""docs/supported-versions.md: which Kubernetes Flux asks for, in the very program that preflight calls."""

from __future__ import annotations

from tests.cluster.build import module_folder
from tests.support.schemas import OLDEST_KUBERNETES


def test_the_oldest_kubernetes_is_the_one_that_flux_takes() -> None:
    source = module_folder("github.com/fluxcd/flux2/v2", "flux") / "cmd" / "flux" / "check.go"
    assert f'kubernetesConstraints = []string{{\n\t">={OLDEST_KUBERNETES}.0-0",\n}}' in source.read_text(
        encoding="utf-8"
    )
