"""GitLab's pod: commands in it, Ruby in its Rails, and the token with which a run speaks to its API."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..console import Console
from ..errors import ClientError, Failure
from ..patience import Patience
from ..programs import Programs, Result, first_line
from ..secret import Secret
from ..settings import Settings
from .gitlab_transport import Transport

# Each try takes a minute.
MOST_TRIES_OF_RAILS = 3
# Somebody may wait for their prompt.
LOGOUT_SECONDS = 10


class PodError(ClientError):
    """A command in the pod failed: the pod is not up to it yet, or the command is wrong. Only another try tells."""

    def __init__(self, done: Result) -> None:
        super().__init__("GitLab's Rails", done.err.strip() or done.words, transient=True)

    def __str__(self) -> str:
        """Return the line of the complaint that says most."""
        noise = ("Defaulted container", "command terminated")
        lines = [line for line in self.words.splitlines() if line.strip() and not line.startswith(noise)]
        return lines[0] if lines else first_line(self.words)


class Pod:
    """GitLab's container in the cluster."""

    def __init__(
        self, programs: Programs, patience: Patience, namespace: str, before_change: Callable[[], None]
    ) -> None:
        self._programs, self._patience, self._namespace = programs, patience, namespace
        self._before_change = before_change

    def run(self, *command: str) -> Result:
        """Run a command there. It has no time limit of kubectl's: Rails takes a minute to start."""
        return self._programs.run([*self._kubectl_exec(), "deploy/gitlab", "--", *command])

    def put(self, source: Path, target: str) -> bool:
        """Copy a file into the container, whole: a connection that breaks may look like the file's end."""
        size, name, part = source.stat().st_size, _word(target), _word(f"{target}.part")
        script = f"umask 077; cat >{part} && test $(wc -c <{part}) -eq {size} && mv {part} {name}"
        command = [*self._kubectl_exec("--stdin"), "deploy/gitlab", "--", "sh", "-c", script]
        return self._programs.pump(command, source).status == 0

    def receiver(self, target: str, size: int) -> list[str]:
        """Return the command that writes what it reads to a file in the container; it fails unless that has a size."""
        name, folder = _word(target), _word(target.rpartition("/")[0])
        # It needs no end of what comes: that is lost on some ways through the API server.
        script = f"umask 077; mkdir -p {folder} && head -c {size} >{name} && test $(wc -c <{name}) -eq {size}"
        return [*self._kubectl_exec("--stdin"), "deploy/gitlab", "--", "sh", "-c", script]

    def rails(self, code: str) -> str:
        """Run Ruby in GitLab's Rails, again where the pod was not up to it, and return what it prints.

        Args:
            code: bears a repeat.
        Raises:
            PodError: it failed each time.
        """
        self._before_change()

        def attempt() -> str:
            done = self.run("gitlab-rails", "runner", code)
            if done.status:
                raise PodError(done)
            return done.out

        return self._patience.retry(attempt, min(self._patience.limits.retries, MOST_TRIES_OF_RAILS))

    def host_keys(self) -> list[str]:
        """Return the SSH host keys, read where nobody in between can put in their own; each as type and key.

        Raises:
            Failure: there are none.
        """
        look = f"kubectl exec deploy/gitlab -n {self._namespace} -- ls -l /etc/gitlab"
        done = self.run("sh", "-c", "cat /etc/gitlab/ssh_host_*_key.pub")
        if done.status:
            raise Failure(f"GitLab's host keys cannot be read: {done.err.strip()}", look)
        lines = [line.split() for line in done.out.splitlines()]
        keys = [" ".join(words[:2]) for words in lines if len(words) > 1 and words[0].startswith(("ssh-", "ecdsa-"))]
        if not keys:
            raise Failure("GitLab shows no SSH host keys.", look)
        return sorted(keys)

    def _kubectl_exec(self, *options: str) -> list[str]:
        return ["kubectl", "exec", *options, "--namespace", self._namespace]


def _word(text: str) -> str:
    """Return *text* as one word for the pod's shell."""
    return "'" + text.replace("'", "'\\''") + "'"


class Session:
    """The run's token of GitLab's root: made in the pod, since a new GitLab has no other way in, and revoked at the
    end."""

    def __init__(self, pod: Pod, transport: Transport, console: Console, settings: Settings, place: str) -> None:
        """Keep what a log-in takes.

        Args:
            place: this folder of this machine, as nobody else's run has it: see workspace.place.
        """
        self._pod, self._transport, self._console, self._settings = pod, transport, console, settings
        self._name = f"bootstrap-{settings.lab_name}-{place}"

    def begin(self) -> Secret:
        """Return the token; it is made by the first call.

        Tokens that an earlier, killed run from here may have left are removed by the same step; those of another
        administrator's run elsewhere are not. GitLab ends a token at midnight
        UTC at the start of its last day: "tomorrow" could be a minute away, so it is the day after.
        https://docs.gitlab.com/user/profile/personal_access_tokens/

        Raises:
            Failure: GitLab makes none.
        """
        if self._transport.token is not None:
            return self._transport.token
        code = f"""name = '{self._name}'
    user = User.find_by_username('root') || User.admins.active.order(:id).first
    abort 'GitLab has no administrator' unless user
    PersonalAccessToken.where(user: user, name: name).find_each(&:destroy!)
    token = user.personal_access_tokens.create!(name: name, expires_at: Date.current + 2,
      scopes: %w[api create_runner write_repository admin_mode])
    puts 'token=' + token.token"""
        self._console.doing("asking GitLab's Rails for a token that lasts for this run (a minute or so)")
        namespace = self._settings.gitlab_namespace
        try:
            said = self._pod.rails(code)
        except PodError as error:
            look = f"kubectl logs deploy/gitlab -n {namespace} --tail=50"
            raise Failure(f"GitLab made no token for this run: {error}", look) from error
        lines = [line.strip() for line in said.splitlines() if line.startswith("token=")]
        if not lines:
            raise Failure(
                "GitLab's Rails gave no token.", f"kubectl exec deploy/gitlab -n {namespace} -- gitlab-ctl status"
            )
        self._transport.token = Secret(lines[-1].removeprefix("token="))
        return self._transport.token

    def end(self) -> None:
        """Revoke the token. It would end by itself, but not for two days."""
        if self._transport.token is None:
            return
        what, path = "revoke the token of this run", "/personal_access_tokens/self"
        try:
            self._transport.request("DELETE", path, what, 204, tries=2, seconds=LOGOUT_SECONDS)
        except Failure as failure:
            why = failure.what.removeprefix(f"GitLab did not {what}: ")
            self._console.warn(
                f"the token of this run ({self._name}) could not be revoked: {why}.\nIt expires in two days; the "
                f"next run removes it."
            )
        self._transport.token = None
