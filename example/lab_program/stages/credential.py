"""The credential with which Flux reads and writes the lab's repository: Secret flux-system/flux-system.

self: an SSH key. external: the same over ssh, or a user name and a token over https.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from ..clients.git import AsOwner, GitError, WithKey, WithPassword, known_hosts_name, ssh_address
from ..clients.objects import NOTHING, KubeObject
from ..errors import Failure
from ..lab import Lab
from ..probes import FLUX
from ..programs import last_line
from ..secret import Secret
from ..workspace import write_private
from .early_secrets import git_login

OWNER = AsOwner()


class GitCredential:
    """Sees to the credential."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.settings, self.console, self.cluster = lab, lab.settings, lab.console, lab.cluster

    def ensure(self) -> str:
        """Make the credential, or keep the one that works; return Flux's public key, where it is a key."""
        there = self.cluster.find("secret", FLUX, FLUX) or NOTHING
        if self.settings.external_over_https:
            self._ensure_password(there)
            return ""
        return self._ensure_key(there)

    # A key

    def _ensure_key(self, there: KubeObject) -> str:
        private, public, known = there.secret("identity"), there.value("identity.pub"), there.value("known_hosts")
        if self.lab.dry_run:
            if private:
                self.console.have("Flux's SSH key, in Secret flux-system/flux-system")
            else:
                self.console.would("make an SSH key for Flux in Secret flux-system/flux-system")
            return public
        hosts = self._host_keys(known)
        if private and public and known == hosts:
            self.console.have("Flux's SSH key, in Secret flux-system/flux-system")
        else:
            if not (private and public):
                private, public = self._new_key(f"flux-{self.settings.lab_name}")
            values: dict[str, str | Secret] = {"identity": private, "identity.pub": public, "known_hosts": hosts}
            self.cluster.put_secret(FLUX, FLUX, values)
        if not self.settings.self_hosted:
            self._check_key(private, public, hosts)
        return public

    def _host_keys(self, known: str) -> str:
        """Return the lines of known_hosts for the repository's SSH server."""
        if self.settings.self_hosted:
            host = f"gitlab-ssh.{self.settings.gitlab_namespace}.svc.cluster.local"
            name = known_hosts_name(host, self.settings.ssh_port)
            return "\n".join(f"{name} {key}" for key in self.lab.pod.host_keys())
        return known or self._scan_host_keys()

    def _scan_host_keys(self) -> str:
        """Return what the network shows of an external server, once the owner has compared it."""
        host, port = ssh_address(self.settings.gitops_url)
        scanned = self.lab.programs.run(["ssh-keyscan", "-T", "10", "-p", str(port), host]).out
        lines = sorted(line for line in scanned.splitlines() if line and not line.startswith("#"))
        if not lines:
            raise Failure(f"{host} shows no SSH host key on port {port}.", f"ssh -p {port} git@{host}")
        keys = "\n".join(lines)
        listed = self.lab.programs.run(["ssh-keygen", "-l", "-f", "-"], stdin=(keys + "\n").encode()).out
        prints = {
            words[1]: f"{words[1]} {words[-1]}" for words in map(str.split, listed.splitlines()) if len(words) > 1
        }
        shown, page = "\n".join(prints.values()), f"the page of {host} that lists its SSH fingerprints"
        expected = self.lab.environment.get("LAB_GIT_HOST_KEY", "")
        if expected:
            if expected not in prints:
                raise Failure(f"No host key of {host} matches LAB_GIT_HOST_KEY={expected}. It shows:\n{shown}", page)
            return keys
        without = f"set LAB_GIT_HOST_KEY=SHA256:... to the fingerprint that {host} publishes"
        question = f"{host} shows these SSH host keys:\n{shown}\nAre they the ones that {host} publishes?"
        if not self.console.ask_yes(question, without, in_person=True):
            raise Failure("The host keys were not confirmed.", page)
        return keys

    def _check_key(self, private: Secret, public: str, hosts: str) -> None:
        """Wait until the key is known at the external repository, and may write there."""
        url, git = self.settings.gitops_url, self.lab.git
        known_hosts = write_private(self.lab.private / "known_hosts", hosts + "\n")
        identity = write_private(self.lab.private / "identity", private.reveal().rstrip("\n") + "\n")
        question = f"Add this deploy key to {url} with the right to write (image automation pushes):\n{public}"
        try:
            while True:
                try:
                    git.may_write(url, WithKey(identity, known_hosts))
                    break
                except GitError as error:
                    if not self.console.can_ask:
                        then = f"{question}\nthen run ./lab up again"
                        raise Failure(f"Flux's key may not write to {url} yet: {error}", "", then) from error
                    if not self.console.ask_yes(f"{question}\nIs it there now?", ""):
                        then = "add it and run ./lab up again"
                        raise Failure(f"Flux's key may not write to {url} yet.", "", then) from error
        finally:
            identity.unlink()
        self.console.have(f"Flux's key may write to {url}")

    def _new_key(self, comment: str) -> tuple[Secret, str]:
        """Return a new SSH key pair: the private key, and the public one."""
        path = self.lab.private / "new-key"
        for old in (path, Path(f"{path}.pub")):
            old.unlink(missing_ok=True)
        done = self.lab.programs.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)])
        if done.status:
            raise Failure(f"ssh-keygen made no key: {last_line(done.words)}", "ssh-keygen -t ed25519")
        private, public = Secret(path.read_text()), Path(f"{path}.pub").read_text().strip()
        path.unlink()
        return private, public

    # A password

    def _ensure_password(self, there: KubeObject) -> None:
        url = self.settings.gitops_url
        user, password = there.value("username"), there.secret("password")
        if password:
            problem = self._refusal(user, password)
            if problem is None:
                self.console.have(f"Flux's password for {url}, in Secret flux-system/flux-system")
                return
            if problem.transient:
                raise Failure(f"{url} does not answer: {problem.words}", f"git ls-remote {url}")
            self.console.warn(f"{url} does not take Flux's password any more: {problem}")
        if self.lab.dry_run:
            self.console.would(
                f"ask for Flux's user name and password at {url}, and keep them in Secret flux-system/flux-system"
            )
            return
        user, password = git_login(self.lab) or self._ask_for_password()
        problem = self._refusal(user, password)
        if problem is not None:
            look = "the rights of the token: it has to read and write the repository"
            raise Failure(f"That user may not write to {url}: {problem.words}", look)
        login: dict[str, str | Secret] = {"username": user, "password": password}
        if self.settings.private_ca:
            login["ca.crt"] = certificate(self.lab)
        self.cluster.put_secret(FLUX, FLUX, login)

    def _refusal(self, user: str, password: Secret) -> GitError | None:
        """Return why a user may not write; asked of the repository itself, by a push that is dry."""
        url = self.settings.gitops_url
        try:
            self.lab.git.may_write(url, WithPassword(user, password, url, self._trusted()))
        except GitError as error:
            return error
        return None

    def _trusted(self) -> Path | None:
        """Return a file with the certificates to trust at the external host: its signer may be the lab's, or a
        public one."""
        if not self.settings.private_ca:
            return None
        public = ssl.get_default_verify_paths().cafile
        text = Path(public).read_text(encoding="utf-8", errors="replace") if public else ""
        return write_private(self.lab.private / "trusted.crt", f"{text.rstrip()}\n{certificate(self.lab)}")

    def _ask_for_password(self) -> tuple[str, Secret]:
        """Return user name and password, from the owner, or from the variables that --help names."""
        url, environment = self.settings.gitops_url, self.lab.environment
        user = environment.get("LAB_GIT_USERNAME") or self.console.ask_line(
            f"Flux's user name at {url}:", "LAB_GIT_USERNAME"
        )
        file = environment.get("LAB_GIT_PASSWORD_FILE", "")
        if file:
            try:
                password = Secret(Path(file).read_text(encoding="utf-8").rstrip("\n"))
            except (OSError, UnicodeDecodeError) as error:
                raise Failure(f"LAB_GIT_PASSWORD_FILE={file} cannot be read: {error}") from error
        elif self.console.terminal:
            password = self.console.ask_secret("its password or token there (not shown):")
        else:
            then = "set LAB_GIT_PASSWORD_FILE to a file that holds it (chmod 600) and run ./lab up again"
            raise Failure(f"There is no terminal to ask for Flux's password at {url}.", "", then)
        if not password:
            raise Failure("The password is empty.", "", "set LAB_GIT_PASSWORD_FILE, or run ./lab up again")
        return user, password


def certificate(lab: Lab) -> str:
    """Return the certificate of the lab's own authority, as a Secret carries it.

    Raises:
        Failure: it is missing.
    """
    try:
        text = lab.ca_file.read_text(encoding="utf-8")
    except OSError:
        text = ""
    if not text.strip():
        if lab.settings.makes_authority:
            raise Failure(
                "ca.crt is missing in the lab.", "", "./lab up --only certificates writes it from the cluster"
            )
        then = "copy the certificate (not the key) of your certificate authority to ca.crt beside ./lab"
        raise Failure("ca.crt is missing in the lab.", "", then)
    return text.rstrip("\n") + "\n"
