"""`./lab new-app`: another application, in the shape of apps/demo. It writes files here and does nothing else."""

from __future__ import annotations

import argparse
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

from ..errors import ExitCode, Failure, WrongCall
from ..settings import Settings
from .application import Application, quoted
from .base import Command
from .renaming import Renaming, rename
from .sealing import sealed_files, sealed_text

PARTS_OF_THE_LAB = (
    *("gitlab", "gitlab-check", "gitlab-runner", "runner", "infrastructure", "automation", "flux-system"),
    *("cert-manager", "cert-issuer", "docker-hub-cache", "sign-in"),
)
_LABEL = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")
_IMAGE_PART = re.compile(r"[a-z0-9]+(([._]|__|-+)[a-z0-9]+)*")
_HOST = re.compile(r"([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]*[a-z0-9])?")
LONGEST_RELEASE, LONGEST_IMAGE, LONGEST_HOST, LONGEST_HOST_LABEL, HIGHEST_PORT = 53, 255, 253, 63, 65535

NOTES = """\
From then on a version tag of its project becomes an image, a commit here, and a pod.

To remove an application: git rm -r apps/NAME clusters/*/NAME.yaml, commit, push. Flux then removes its release
from the cluster, except the volumes that it made (kubectl get pvc -A; a claim with `retain: false` is removed, too).
Its project and images in GitLab stay.

To rename one: ./lab new-app NAME --rename NEW, with --project or --host if these change, too. Its pods run on, and
its volumes stay.

It asks nothing. Exit status: 0 done, 1 refused (nothing was written), 2 wrong call.
"""


class Refusal(Failure):
    """An application that cannot work; nothing was written."""


class NewApp(Command):
    name = "new-app"
    purpose = "add another application: its release, its image policy, and what makes Flux follow them"
    example = "./lab new-app shop --port 3000 --health /healthz"
    notes = NOTES

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("names", metavar="NAME", nargs="*", help="what it is called")
        for name, metavar, text in (
            ("project", "GROUP/PROJECT", "where its source lives in GitLab; the first group's project NAME otherwise"),
            ("host", "HOST", "where it is served; NAME in the lab's domain otherwise"),
            ("port", "PORT", "where it listens inside its container; 8080 otherwise"),
            (
                "health",
                "PATH",
                "a page that answers when it is ready, such as /healthz; otherwise an open port is enough",
            ),
            ("memory", "AMOUNT", "the most memory that it may take; 512Mi otherwise"),
            ("secret", "SECRET", "an encrypted Secret with its environment, such as shop-db; asks for its values"),
            ("secret-from", "FILE", "take the Secret's values from lines NAME=value of a file instead"),
            ("rename", "NEW", "give the application NAME another name; its pods run on"),
        ):
            parser.add_argument(f"--{name}", metavar=metavar, nargs="?", const="", help=text)
        parser.add_argument("--sign-in", action="store_true", help="visitors have to log in at GitLab first")

    def run(self) -> int:
        if self.options.rename is not None:
            return self._rename()
        app = self._application()
        check(app, self.settings, self.folder)
        self._write(app, sealed_text(self, app) if app.secret else "")
        self.console.print(self._what_is_next(app))
        return ExitCode.DONE

    def _application(self) -> Application:
        options = self.options
        for name in ("project", "host", "port", "health", "memory", "secret", "secret-from", "rename"):
            if getattr(options, name.replace("-", "_")) == "":
                raise WrongCall(f"--{name} needs a value")
        if options.secret_from and not options.secret:
            raise WrongCall("--secret-from goes with --secret")
        if not options.names:
            raise WrongCall("what is the application called?")
        if len(options.names) > 1:
            raise WrongCall(f'one application at a time: "{options.names[0]}" or "{options.names[1]}"?')
        name = options.names[0]
        return Application(
            name=name,
            project=options.project or f"{self.settings.groups[0]}/{name}",
            host=options.host or f"{name}.{self.settings.base_domain}",
            port=options.port or "8080",
            health=options.health or "",
            memory=options.memory or "512Mi",
            secret=options.secret or "",
            sign_in=options.sign_in,
        )

    def _rename(self) -> int:
        """Move an application's files; what it is called in the cluster stays."""
        options, old = self.options, self._application()
        if options.port or options.health or options.memory or options.secret or options.sign_in:
            raise WrongCall(
                "--rename goes with --project and --host only; the rest is in the application's helmrelease.yaml"
            )
        new = replace(
            old, name=options.rename, project=options.project or f"{self.settings.groups[0]}/{options.rename}"
        )
        _check_name(new.name, self.settings, self.folder)
        if options.project:
            _check_project(new, self.settings)
        if options.host:
            _check_host(new, self.settings, self.folder)
        image = new.image(self.settings) if options.project else ""
        clusters = self.folder / self.settings.cluster_folder
        os.umask(self.programs.owner_umask)
        for line in rename(self.folder, clusters, Renaming(old.name, new.name, image, options.host or "")):
            self.console.did(line)
        self.console.print(
            f"\nWhat comes next: git add --all apps {self.settings.cluster_folder}"
            f' && git commit -m "Call {old.name} {new.name}" && git push'
        )
        return ExitCode.DONE

    def _write(self, app: Application, secret: str) -> None:
        """Write all files or none. What Flux follows comes last, so that it never points at half an application."""
        # These files are the owner's to share, as any other of the lab.
        os.umask(self.programs.owner_umask)
        folder, cluster = (
            self.folder / "apps" / app.name,
            self.folder / self.settings.cluster_folder / f"{app.name}.yaml",
        )
        try:
            # Where somebody else has just made it, this ends here, and what is theirs stays.
            folder.mkdir()
        except OSError as error:
            raise Refusal(f"apps/{app.name} cannot be made: {error.strerror}. Nothing was written.") from error
        written = []
        try:
            for path, text in (
                (folder / "kustomization.yaml", app.kustomization(self.settings)),
                (folder / "helmrelease.yaml", app.helm_release(self.settings)),
                *sealed_files(folder, app, secret),
                (cluster, app.flux_kustomization(self.settings)),
            ):
                path.parent.mkdir(exist_ok=True)
                with path.open("x", encoding="utf-8") as stream:
                    written.append(path)
                    stream.write(text)
        except BaseException as error:
            shutil.rmtree(folder, ignore_errors=True)
            if cluster in written:
                cluster.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise Refusal(
                    f"{error.filename} cannot be written: {error.strerror}. Nothing is left of it."
                ) from error
            raise

    def _what_is_next(self, app: Application) -> str:
        settings, pipeline = self.settings, "sample-app/.gitlab-ci.yml"
        if not (self.folder / pipeline).exists():
            pipeline = ".gitlab/image.gitlab-ci.yml"
        note = ""
        if settings.tls_source == "secret":
            note = (
                f",\n     and a certificate that covers it in the Secret {settings.tls_secret_name} of the namespace"
                f" {settings.gitlab_namespace};\n     ./lab up --only gitlab brings it to the applications"
            )
        entry = f"{settings.cluster_folder}/{app.name}.yaml"
        return f"""\
Added apps/{app.name}/ and {entry}. What comes next:

  1. The project {settings.gitlab_url}/{app.project}, if there is none yet, with a Dockerfile whose last stage is the application
     with a USER that is a number other than 0, and one of whose stages is called "test", and with a copy of {pipeline}.
     Then ./lab up --only groups protects its tags, those of its images too, so that only {settings.deployers} deploy.
  2. A name in your DNS that sends {app.host} to Traefik{note}.
  3. Here: git add apps/{app.name} {entry} && git commit -m "Add {app.name}" && git push
  4. There: git tag v0.1.0 && git push origin v0.1.0

Until the first image is there, nothing runs: flux get image repository {app.name} says what Flux finds."""


def check(app: Application, settings: Settings, lab: Path) -> None:
    """Refuse an application that cannot work.

    Raises:
        Refusal: why not, and what would be right.
    """
    _check_name(app.name, settings, lab)
    _check_project(app, settings)
    _check_host(app, settings, lab)
    if not re.fullmatch(r"[1-9][0-9]{0,4}", app.port) or int(app.port) > HIGHEST_PORT:
        raise Refusal(f'"{app.port}" is no port: give a number from 1 to {HIGHEST_PORT}.')
    if app.health and not re.fullmatch(r"/[A-Za-z0-9/._~%-]*", app.health):
        raise Refusal(f'"{app.health}" is no path: it begins with a slash, such as /healthz.')
    if not re.fullmatch(r"[1-9][0-9]{0,5}(Mi|Gi)", app.memory):
        raise Refusal(f'"{app.memory}" is no amount of memory: give one such as 512Mi or 2Gi.')
    if app.sign_in:
        _check_sign_in(app, settings)


def _check_sign_in(app: Application, settings: Settings) -> None:
    """The lab's sign-in, whose cookie goes to the hosts below its domain alone."""
    if not settings.sign_in_host:
        raise Refusal(
            "This lab runs no sign-in, so nobody could log in: ./lab update --data sign_in=gitlab, commit, push and "
            "./lab up --only sign-in first."
        )
    if not app.host.endswith(f".{settings.base_domain}"):
        raise Refusal(
            f'"{app.host}" is not below {settings.base_domain}, where browsers show the sign-in\'s cookie: visitors '
            f"would be asked again for ever. Give a host such as {app.name}.{settings.base_domain}."
        )


def _check_name(name: str, settings: Settings, lab: Path) -> None:
    """A name for Kubernetes, Helm and Flux that nothing else in the lab has."""
    if not _LABEL.fullmatch(name):
        raise Refusal(
            f'"{name}" cannot name a Kubernetes Service: use small letters, digits and hyphens, a letter first, '
            f"such as my-shop."
        )
    if len(name) > LONGEST_RELEASE:
        raise Refusal(f'"{name}" has {len(name)} characters; Helm takes {LONGEST_RELEASE} at most.')
    if name in PARTS_OF_THE_LAB:
        raise Refusal(f'"{name}" is a part of the lab itself. Give the application another name.')
    entry = f"{settings.cluster_folder}/{name}.yaml"
    if (lab / "apps" / name).exists() or (lab / entry).exists():
        raise Refusal(
            f'there is an application "{name}" already, in apps/{name} and {entry}. Nothing was changed.\n'
            "To begin again, remove both first; ./lab new-app --help says how."
        )
    # An application that was renamed keeps its name in the cluster.
    for file in sorted((lab / settings.cluster_folder).glob("*.yaml")):
        if re.search(
            rf'^  name: "?{re.escape(name)}"?$', file.read_text(encoding="utf-8", errors="replace"), re.MULTILINE
        ):
            raise Refusal(
                f'Flux knows a Kustomization "{name}" already, by {file.relative_to(lab)}. Give the application another name.'
            )


def _check_project(app: Application, settings: Settings) -> None:
    """A project of one of the lab's groups, whose path is also an image's name. GitLab takes upper case as lower."""
    project, example = app.project, f"{settings.groups[0]}/{app.name}"
    path, image = project.lower(), app.image(settings)
    if "/" not in project:
        raise Refusal(f'"{project}" is no project of GitLab\'s: write group/project, such as {example}.')
    if not all(path.split("/")):
        raise Refusal(f'"{project}" has an empty part: write group/project, such as {example}.')
    for part in path.split("/"):
        if not _IMAGE_PART.fullmatch(part):
            raise Refusal(
                f'"{part}" in "{project}" is not allowed in an image\'s name: use letters and digits, with single dots,'
                " underscores or hyphens between them."
            )
    if len(image) > LONGEST_IMAGE:
        raise Refusal(
            f'"{project}" is too long: {settings.registry_address}/ and it are {len(image)} characters, and an '
            f"image's name has"
            f" {LONGEST_IMAGE} at most."
        )
    if not any(path.startswith(f"{group.lower()}/") for group in settings.groups):
        raise Refusal(
            f'"{project}" is in none of the lab\'s groups ({" ".join(settings.groups)}), so the cluster could not '
            f"pull its image.\n"
            "Add its group first: ./lab update --data groups='[…]', then ./lab up --only groups and ./lab up "
            "--only registry."
        )


def _check_host(app: Application, settings: Settings, lab: Path) -> None:
    """A host that nobody else in the lab answers to."""
    host, example = app.host, f"{app.name}.{settings.base_domain}"
    if not _HOST.fullmatch(host) or len(host) > LONGEST_HOST:
        raise Refusal(
            f'"{host}" is no host: small letters, digits, hyphens and dots, without scheme, port or slash, such '
            f"as {example}."
        )
    if host.rpartition(".")[2].isdigit():
        raise Refusal(
            f'"{host}" ends in a number, as addresses do; a certificate and a route want a name, such as {example}.'
        )
    for part in host.split("."):
        if len(part) > LONGEST_HOST_LABEL:
            raise Refusal(f'"{part}" in "{host}" has {len(part)} characters; DNS takes {LONGEST_HOST_LABEL} at most.')
    if host in (settings.gitlab_host, settings.registry_host):
        raise Refusal(f"{host} is GitLab's own host. Give another with --host.")
    served = re.compile(rf"^ *- name: {re.escape(host)}$|^ *- name: {re.escape(quoted(host))}$", re.MULTILINE)
    for file in sorted(lab.glob("apps/*/helmrelease.yaml")):
        if served.search(file.read_text(encoding="utf-8", errors="replace")):
            raise Refusal(f"{host} is served by {file.relative_to(lab)} already. Give another with --host.")
