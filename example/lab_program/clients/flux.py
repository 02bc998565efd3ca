"""Flux's command line."""

from __future__ import annotations

from collections.abc import Callable

from ..programs import Programs


class Flux:
    """The program `flux`, on the cluster of the owner's kubeconfig."""

    def __init__(self, programs: Programs, before_change: Callable[[], None]) -> None:
        self._programs, self._before_change = programs, before_change

    def version(self) -> str:
        """Return its own version; nothing where it does not say."""
        return self._programs.run(["flux", "version", "--client"]).out

    def prerequisites(self) -> str | None:
        """Return None where the cluster suits Flux, otherwise what does not."""
        done = self._programs.run(["flux", "check", "--pre"])
        if done.status == 0:
            return None
        lines = (done.out + done.err).splitlines()
        return "\n".join([line for line in lines if line.strip() and not line.startswith(("✔", "►"))][:3])

    def suspend(self, release: str, namespace: str) -> bool:
        """Have Flux leave a HelmRelease alone; false where it does not."""
        self._before_change()
        return self._programs.run(["flux", "suspend", "helmrelease", release, "--namespace", namespace]).status == 0

    def resume(self, release: str, namespace: str) -> bool:
        """Give a HelmRelease back to Flux; false where that did not work."""
        return self._programs.run(["flux", "resume", "helmrelease", release, "--namespace", namespace]).status == 0

    def reconcile(self, release: str, namespace: str) -> None:
        """Have Flux release it again, whether or not anything has changed."""
        self._programs.run(["flux", "reconcile", "helmrelease", release, "--namespace", namespace, "--force"])
