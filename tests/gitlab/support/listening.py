"""Programs that listen until a test has ended."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.support.loopback import listens, wait_for


class Program:
    """A program that has been started, and ends with its test."""

    _process: subprocess.Popen[bytes]
    _log: Path

    def _is_complete(self, what: str, addresses: Sequence[tuple[str, int]]) -> None:
        """Wait until the program listens at all of its addresses; stop it if it does not."""

        def answers() -> bool:
            assert self._process.poll() is None, self._log.read_text()
            return all(listens(*address) for address in addresses)

        try:
            wait_for(f"{what} (see {self._log})", answers)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
