"""Runs the check before GitLab, and the alarm, for real: the commands of their Jobs, on the mounts and in the environment of their pods.

The image is a folder with this machine's Ruby in it. What stands in for the rest of it: `gitlab-ctl show-config` knows the
sections of gitlab.rb and some settings that were removed, and `gitlab-ctl upgrade-check` the stop before the image's version,
as GitLab's own does (omnibus-gitlab, files/gitlab-ctl-commands/upgrade-check.rb). They cannot show what Chef and the rest of
the package would say.
"""

from __future__ import annotations

import base64
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.api import Api, Object

SECONDS = 60
# What a container of an image sees of the machine below it.
SHARED = tuple(
    place for place in ("/usr", "/etc/ssl", "/etc/hosts", "/etc/nsswitch.conf", "/dev") if Path(place).exists()
)
LINKS = ("bin", "lib", "lib64", "sbin")
GITLAB_CTL = """\
#!/usr/bin/ruby
# As much of GitLab's own program as the check calls.
SECTIONS = %w[SECTIONS]
REMOVED = {'gitlab_rails' => %w[gravatar_plain_url incoming_email_mailbox_name], 'git_data_dirs' => nil}
def stop(text)
  puts "[2026-01-01T00:00:00+00:00] FATAL: #{text}"
  exit 1
end
class Settings < Hash
  def [](key) = (self[key] = Settings.new unless key?(key); super)
end
class Config
  attr_reader :sections
  def initialize = (@sections = {})
  def from_file(file) = instance_eval(File.read(file), file)
  def respond_to_missing?(*) = true
  def method_missing(name, *values)
    section = name.to_s
    unless SECTIONS.include?(section)
      stop "Mixlib::Config::UnknownConfigOptionError: Reading unsupported config value #{section}."
    end
    return @sections[section] = values.first unless values.empty?
    @sections[section] ||= Settings.new
  end
end
case ARGV.shift
when 'show-config'
  config = Config.new
  begin
    config.instance_eval(ENV['GITLAB_OMNIBUS_CONFIG'].to_s)
  rescue StandardError, ScriptError => e
    stop "#{e.class}: #{e.message}"
  end
  gone = config.sections.flat_map do |section, settings|
    next [] unless REMOVED.key?(section)
    REMOVED[section] ? (REMOVED[section] & settings.keys).map { |key| "#{section}['#{key}']" } : [section]
  end
  stop "RuntimeError: Removed configurations found in gitlab.rb. Aborting reconfigure.\\n* #{gone.join("\\n* ")} has been removed" unless gone.empty?
  puts 'what the settings are, secrets included'
when 'upgrade-check'
  old, new = ARGV.map { |version| version.split('.').first(2).map(&:to_i) }
  least = MINIMUM
  if (old <=> least).negative?
    warn "It seems you are upgrading from #{ARGV[0]} to #{ARGV[1]}."
    warn "It is required to upgrade to the latest #{least.join('.')}.x version first before proceeding."
    exit 1
  end
end
"""
IN_ROOT = """\
set -e
root=$1 user=$2
shift 2
for place in {shared}; do mount --rbind "$place" "$root$place"; done
exec chroot --userspec="$user" "$root" "$@"
"""


@dataclass(frozen=True)
class Ended:
    """How a container ended.

    Attributes:
        name: the container's.
        code: its exit code.
        said: what it printed last.
    """

    name: str
    code: int
    said: str


class JobRunner:
    """Runs the containers of one pod, one after the other.

    Args:
        api: the cluster, from which Secrets and ConfigMaps come.
        authority: the certificate of the API server.
        folder: where the images' folders go; made new.
        sections: the sections that gitlab.rb may have.
    """

    def __init__(self, api: Api, authority: Path, folder: Path, sections: frozenset[str]) -> None:
        self.api, self.authority, self.folder, self.sections = api, authority, folder, sections
        # The address of the DNS server that pods of a dnsPolicy ask, instead of this machine's hosts file.
        self.resolvers: dict[str, str] = {}
        folder.mkdir(parents=True)
        folder.chmod(0o755)

    def run(self, pod: Object, container: Object) -> Ended:
        """Run one container to its end."""
        root = self.folder / f"{pod['metadata']['uid']}-{container['name']}"
        try:
            self._image(root, container["image"])
            self._mounts(root, pod, container)
            environment = self._environment(pod, container)
            server = self.resolvers.get(str(pod["spec"].get("dnsPolicy")))
            shared = [place for place in SHARED if not (server and place == "/etc/hosts")]
            if server:
                lines = f"nameserver {server}\noptions timeout:1 attempts:1\n"
                (root / "etc/resolv.conf").write_text(lines, encoding="utf-8")
            script = IN_ROOT.format(shared=" ".join(shared))
            contexts = (pod["spec"].get("securityContext") or {}) | (container.get("securityContext") or {})
            user = str(contexts.get("runAsUser", 0))
            command = [*container["command"], *container.get("args", [])]
            inside = ["env", "-i", *(f"{name}={value}" for name, value in environment.items()), *command]
            done = subprocess.run(
                ["unshare", "--mount", "sh", "-c", script, "sh", str(root), f"{user}:{user}", *inside],
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
                stdin=subprocess.DEVNULL,
            )
            return Ended(container["name"], done.returncode, (done.stdout + done.stderr)[-2048:])
        finally:
            shutil.rmtree(root, ignore_errors=True)

    def _image(self, root: Path, image: str) -> None:
        for place in SHARED:
            there = root / place.removeprefix("/")
            if Path(place).is_dir():
                there.mkdir(parents=True)
            else:
                there.parent.mkdir(parents=True, exist_ok=True)
                there.touch()
        for name in LINKS:
            if Path(f"/{name}").is_symlink():
                (root / name).symlink_to(f"usr/{name}")
        (root / "tmp").mkdir()
        (root / "tmp").chmod(0o1777)
        version = image.rpartition(":")[2].partition("-")[0]
        if "/gitlab-ce:" not in image:
            return
        programs = root / "opt/gitlab"
        (programs / "embedded/bin").mkdir(parents=True)
        (programs / "bin").mkdir()
        (programs / "embedded/bin/ruby").symlink_to("/usr/bin/ruby")
        (programs / "version-manifest.txt").write_text(f"gitlab-ce {version}\n\nComponent  Version\n", encoding="utf-8")
        text = GITLAB_CTL.replace("SECTIONS]", f"{' '.join(sorted(self.sections))}]", 1)
        control = programs / "bin/gitlab-ctl"
        control.write_text(text.replace("MINIMUM", str(list(stop_before(version)))), encoding="utf-8")
        control.chmod(0o755)

    def _mounts(self, root: Path, pod: Object, container: Object) -> None:
        namespace, volumes = pod["metadata"]["namespace"], {one["name"]: one for one in pod["spec"].get("volumes", [])}
        for mount in container.get("volumeMounts", []):
            place = root / mount["mountPath"].removeprefix("/")
            place.mkdir(parents=True)
            source: Object = volumes[mount["name"]]
            if "configMap" in source:
                found = self.api.get("configmaps", source["configMap"]["name"], namespace)
                assert found is not None, source
                for name, text in found.get("data", {}).items():
                    (place / name).write_text(text, encoding="utf-8")
            elif "projected" in source and all("secret" in one for one in source["projected"]["sources"]):
                self._files(place, namespace, source["projected"]["sources"])
            elif "projected" in source:  # the account's token, as the API server adds it to the pod
                account = pod["spec"]["serviceAccountName"]
                path = self.api.path("serviceaccounts", namespace, account, "token")
                made = self.api.request(
                    "POST", path, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"}
                )
                (place / "token").write_text(made["status"]["token"], encoding="utf-8")
                (place / "namespace").write_text(namespace, encoding="utf-8")
                shutil.copy(self.authority, place / "ca.crt")
            else:
                raise AssertionError(f"no volume of the check is of this kind: {source}")

    def _files(self, place: Path, namespace: str, sources: list[Object]) -> None:
        """Write the entries of Secrets that a volume names."""
        for one in sources:
            held = self._secret(namespace, one["secret"])
            for item in one["secret"]["items"]:
                assert item["key"] in held or one["secret"].get("optional"), f"the pod could not start: {item}"
                if item["key"] in held:
                    (place / item["path"]).write_text(held[item["key"]], encoding="utf-8")

    def _environment(self, pod: Object, container: Object) -> dict[str, str]:
        namespace = pod["metadata"]["namespace"]
        found = {
            "PATH": "/usr/bin:/bin",
            "HOME": "/root",
            "KUBERNETES_SERVICE_HOST": "kubernetes.default.svc",
            "KUBERNETES_SERVICE_PORT": str(self.api.port),
        }
        for one in container.get("envFrom", []):
            found |= self._secret(namespace, one["secretRef"])
        for one in container.get("env", []):
            source: dict[str, Any] = one.get("valueFrom") or {}
            if "secretKeyRef" in source:
                value = self._secret(namespace, source["secretKeyRef"]).get(source["secretKeyRef"]["key"])
                found |= {one["name"]: value} if value is not None else {}
            elif "configMapKeyRef" in source:
                reference = source["configMapKeyRef"]
                held = self.api.get("configmaps", reference["name"], namespace)
                assert held or reference.get("optional"), f"the pod could not start: no ConfigMap {reference['name']}"
                value = (held or {}).get("data", {}).get(reference["key"])
                found |= {one["name"]: value} if value is not None else {}
            elif "fieldRef" in source:
                found[one["name"]] = "192.0.2.1"
            else:
                found[one["name"]] = one.get("value", "")
        return found

    def _secret(self, namespace: str, reference: Object) -> dict[str, str]:
        found = self.api.get("secrets", reference["name"], namespace)
        assert found or reference.get("optional"), f"the pod could not start: no Secret {reference['name']}"
        data = (found or {}).get("data", {})
        return {name: base64.b64decode(value).decode() for name, value in data.items()}


def stop_before(version: str) -> tuple[int, int]:
    """Return the required stop that an upgrade to a version comes from at the latest: x.2, x.5, x.8 or x.11."""
    major, minor = map(int, version.split(".")[:2])
    stops = [stop for stop in (2, 5, 8, 11) if stop < minor]
    return (major, stops[-1]) if stops else (major - 1, 11)


def runs_for_real(pod: Object) -> bool:
    """Say whether a pod's commands are run: the check of another release, and the alarm."""
    return any(one["name"] in ("check", "alerts") for one in pod["spec"]["containers"])


def status_of(pod: Object, ended: list[Ended]) -> Object:
    """Return the status that a kubelet gives a pod whose containers ended so; the first that failed is the last."""
    first = {one["name"] for one in pod["spec"].get("initContainers", [])}
    containers = {one["name"]: one for one in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]}
    statuses: dict[str, list[Object]] = {"initContainerStatuses": [], "containerStatuses": []}
    by_name = {one.name: one for one in ended}
    for name, container in containers.items():
        if name in by_name:
            one = by_name[name]
            reason = "Completed" if one.code == 0 else "Error"
            state = {
                "terminated": {"exitCode": one.code, "reason": reason, **({"message": one.said} if one.code else {})}
            }
        else:
            state = {"waiting": {"reason": "PodInitializing"}}
        kind = "initContainerStatuses" if name in first else "containerStatuses"
        statuses[kind].append(
            {
                "name": name,
                "image": container["image"],
                "imageID": container["image"],
                "ready": False,
                "restartCount": 0,
                "state": state,
            }
        )
    failed = any(one.code for one in ended)
    return {**statuses, "phase": "Failed" if failed else "Succeeded", "hostIP": "192.0.2.1"}
