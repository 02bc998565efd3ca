"""What the code for machines needs that is secret: Proxmox's token, and the passphrase of OpenTofu's state.

Both lie in Secret flux-system/lab-machines, beside the program's other secrets, and in variables of the project, hidden
and for its protected branches alone. GitLab never shows a hidden variable, so one is removed before its value changes
in the Secret: a variable that exists holds what the Secret holds.

The passphrase outlives both, since a state that comes out of a backup is worth nothing without it: the owner keeps it,
encrypted in the lab's Git, or else in a file.
"""

from __future__ import annotations

import json
from pathlib import Path

from .. import sealed
from ..clients.objects import NOTHING
from ..clients.proxmox import TOKEN
from ..errors import Failure
from ..lab import Lab
from ..probes import FLUX
from ..secret import Secret, random_secret
from ..workspace import state_folder, write_private
from .proxmox_checks import commands

NAME = "lab-machines"
TOKEN_ENTRY, PASSPHRASE_ENTRY = "proxmox-token", "state-passphrase"
TOKEN_VARIABLE, PASSPHRASE_VARIABLE = "PROXMOX_VE_API_TOKEN", "TF_VAR_state_passphrase"
TOKEN_FILE = "LAB_PROXMOX_TOKEN_FILE"  # noqa: S105 - a variable's name
# The state of this name in the project.
STATE = "lab"
SEALED = Path("iac") / f"machines{sealed.SUFFIX}"
SEALED_KEY = "passphrase"
FILE = "machines-passphrase"


class MachineSecrets:
    """Finds them, asks for them or makes them, and keeps them where they are read."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.settings, self.console = lab, lab.settings, lab.console
        self._there = lab.cluster.find("secret", NAME, FLUX) or NOTHING

    @property
    def token(self) -> Secret:
        """Proxmox's token, as far as the cluster has it."""
        return self._there.secret(TOKEN_ENTRY)

    @property
    def file(self) -> Path:
        """Where the owner has the passphrase, if nobody is a recipient of secrets in Git."""
        return state_folder(self.lab.environment, self.settings.lab_name) / FILE

    def ask_token(self) -> Secret:
        """Return the token from the owner's file, or from the owner.

        Raises:
            Failure: there is neither, or it is no token.
        """
        file = self.lab.environment.get(TOKEN_FILE, "")
        if file:
            try:
                given = Secret(Path(file).read_text(encoding="utf-8").strip())
            except (OSError, UnicodeDecodeError) as error:
                raise Failure(f"{TOKEN_FILE}={file} cannot be read: {error}") from error
        elif self.console.terminal:
            made = "On the Proxmox node, as root, these make a user with the rights for it, and its token, shown once:"
            self.console.print(f"\n{made}\n{commands(self.settings)}\n")
            given = self.console.ask_secret("Proxmox's API token, USER@REALM!NAME=SECRET (not shown):")
        else:
            then = (
                f"set {TOKEN_FILE} to a file that holds it (chmod 600) and run ./lab up again\n"
                f"on the Proxmox node, as root, these make one:\n{commands(self.settings)}"
            )
            raise Failure("There is no terminal to ask for Proxmox's API token.", "iac/README.md", then)
        if not TOKEN.fullmatch(given.reveal()):
            raise Failure(
                "That is no API token of Proxmox's: it is USER@REALM!NAME=SECRET, in one line, and SECRET a UUID.",
                "Datacenter > Permissions > API Tokens; the secret is shown once, when the token is made",
                "run ./lab up again and give the whole of it, such as lab@pve!lab=12345678-…",
            )
        return given

    def passphrase(self) -> Secret:
        """Return the passphrase: the one that is there, or a new one where nothing is encrypted with another.

        Raises:
            Failure: a state is there that was encrypted with one that is not.
        """
        found = self._there.secret(PASSPHRASE_ENTRY) or self._owners()
        if found:
            return found
        settings = self.settings
        if self.lab.gitlab.has_state(settings.iac_project, STATE):
            states = f"{settings.gitlab_url}/{settings.iac_project}/-/terraform"
            raise Failure(
                "GitLab has the machines' state, and the passphrase that it is encrypted with is not here: it is "
                f"neither in Secret {FLUX}/{NAME}, {SEALED} nor {self.file}.",
                states,
                f"write it to {self.file} (chmod 600); lost: remove the state in {states} and run this again.\n"
                "The lab's machine is taken over as it is; for others of yours see iac/README.md, GitLab lost",
            )
        return random_secret()

    def _owners(self) -> Secret:
        """Return the owner's own copy of the passphrase; nothing where there is none that can be read here."""
        sealed_file = self.lab.folder / SEALED
        if sealed_file.is_file():
            values = self.lab.sops.values(SEALED, sealed_file.read_text(encoding="utf-8"))
            if values.get(SEALED_KEY):
                return values[SEALED_KEY]
        try:
            return Secret(self.file.read_text(encoding="utf-8").strip())
        except OSError:
            return Secret("")

    # Keeping them

    def keep(self, values: dict[str, Secret]) -> None:
        """Keep secrets, by their entries, in the cluster and in the project's variables."""
        wanted = {entry: value for entry, value in values.items() if value}
        changed = [entry for entry, value in wanted.items() if self._there.secret(entry) != value]
        gitlab, project = self.lab.gitlab, self.settings.iac_project
        variables = {TOKEN_ENTRY: TOKEN_VARIABLE, PASSPHRASE_ENTRY: PASSPHRASE_VARIABLE}
        for entry in changed:
            if gitlab.project_variable(project, variables[entry]) is not None:
                gitlab.delete_project_variable(project, variables[entry])
        if changed:
            both = {entry: self._there.secret(entry) for entry in variables if self._there.secret(entry)} | wanted
            self.lab.cluster.put_secret(FLUX, NAME, both)
            self._there = self.lab.cluster.find("secret", NAME, FLUX) or NOTHING
        for entry, value in wanted.items():
            self._keep_variable(variables[entry], value)

    def _keep_variable(self, key: str, value: Secret) -> None:
        gitlab, project = self.lab.gitlab, self.settings.iac_project
        there = gitlab.project_variable(project, key)
        if there is not None and there.is_closed:
            self.console.have(f"{key} of {project}")
            return
        if there is not None:
            gitlab.delete_project_variable(project, key)
        gitlab.make_project_variable(project, key, value)
        self.console.did(f"{key} of {project}: protected, masked and hidden")

    def give_owner(self, passphrase: Secret) -> None:
        """See to it that the owner has the passphrase outside GitLab and the cluster; say once where it is."""
        if self.settings.age_recipients:
            self._seal(passphrase)
        else:
            self._write(passphrase)

    def _seal(self, passphrase: Secret) -> None:
        path = self.lab.folder / SEALED
        if path.is_file():
            self.console.have(f"the state's passphrase, encrypted in {SEALED}")
            if not self.lab.git.tracks(SEALED.as_posix()):
                self.console.warn(_commit(SEALED))
            return
        plain = f"apiVersion: v1\nkind: Secret\nmetadata:\n  name: {SEALED.name.removesuffix(sealed.SUFFIX)}\n"
        plain += f"stringData:\n  {SEALED_KEY}: {json.dumps(passphrase.reveal())}\n"
        text = self.lab.sops.encrypt(SEALED, Secret(plain))
        new = path.with_name(f".{path.name}.new")
        new.write_text(text, encoding="utf-8")
        new.chmod(0o666 & ~self.lab.programs.owner_umask)
        new.replace(path)
        self.console.did(f"{SEALED}: the state's passphrase, encrypted for your recipients")
        self.console.warn(_commit(SEALED))

    def _write(self, passphrase: Secret) -> None:
        try:
            there = self.file.read_text(encoding="utf-8").strip()
        except OSError:
            there = ""
        if there and Secret(there) == passphrase:
            self.console.have(f"the state's passphrase, in {self.file}")
            return
        if there:
            self.console.warn(
                f"{self.file} has a passphrase other than the cluster's, and stays. This shows the state's:\n{_show()}"
            )
            return
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_private(self.file, f"{passphrase.reveal()}\n")
        except OSError as error:
            self.console.warn(
                f"The state's passphrase could not be written to {self.file} ({error.strerror}). Keep it outside this "
                f"cluster:\n{_show()}"
            )
            return
        self.console.did(f"{self.file}: the passphrase of the machines' state, for you alone")
        self.console.warn(
            f"Copy {self.file} to where it outlives this machine and the cluster (a password manager): a backup of "
            "GitLab holds the state, and nobody can read that without it."
        )


def _show() -> str:
    return f"kubectl get secret {NAME} -n {FLUX} -o jsonpath='{{.data.{PASSPHRASE_ENTRY}}}' | base64 -d"


def _commit(path: Path) -> str:
    return f"{path} belongs in Git: git add {path} && git commit -m 'The passphrase of the machines' && git push"
