"""A real NGINX, set up as gitlab.rb asks for it: its two servers, whom they believe, and what they hand on.

GitLab's package fills its own templates with these settings. What follows is written after them (nginx-gitlab-rails.conf.erb,
nginx-gitlab-registry.conf.erb, and their defaults in nginx_helper.rb), as far as ports, client addresses, headers and buffering
go. Not covered: whether the package's templates still say so in a later version, compression, caches, time-outs, error pages,
the paths of KAS and Pages, NGINX's own version in the package, and Workhorse behind it.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.gitlab.support.listening import Program
from tests.support.tools import tool

Address = tuple[str, int]
CONFIG = """\
daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
{servers}}}
"""
SERVER = """\
  server {{
{listens}
    server_name {name};
    client_max_body_size 0;
{real_ip}
{hsts}
    location / {{
{headers}
      proxy_http_version 1.1;
{buffering}
      proxy_pass http://{backend[0]}:{backend[1]};
    }}
  }}
"""
# What the package sends on when nothing else is set; it adds the last two where the external URL is https.
HEADERS = {
    "Host": "$http_host",
    "X-Real-IP": "$remote_addr",
    "X-Forwarded-For": "$remote_addr",
    "Upgrade": "$http_upgrade",
    "Connection": "$connection_upgrade",
}
HTTPS_HEADERS = {"X-Forwarded-Ssl": "on", "X-Forwarded-Proto": "https"}


# The package's default, two years (nginx_helper.rb).
HSTS = 63072000


def server(url: str, settings: Mapping[str, Any], backend: Address, buffered: bool) -> str:
    """Return the configuration of one server, from its external URL and its `nginx` settings."""
    age = settings.get("hsts_max_age", HSTS)
    assert settings["listen_https"] is False and settings["redirect_http_to_https"] is False
    headers = (
        HEADERS | (HTTPS_HEADERS if urlsplit(url).scheme == "https" else {}) | settings.get("proxy_set_headers", {})
    )
    real_ip = [f"real_ip_header {settings['real_ip_header']};", f"real_ip_recursive {settings['real_ip_recursive']};"]
    real_ip += [f"set_real_ip_from {network};" for network in settings["real_ip_trusted_addresses"]]
    return SERVER.format(
        listens="\n".join(
            f"    listen {one}:{settings['listen_port']};" for one in settings.get("listen_addresses", ["*"])
        ),
        name=urlsplit(url).hostname,
        backend=backend,
        real_ip="\n".join(f"    {line}" for line in real_ip),
        headers="\n".join(f"      proxy_set_header {name} {value};" for name, value in headers.items()),
        hsts=f'    add_header Strict-Transport-Security "max-age={age}"{" always" if buffered else ""};'
        if age > 0
        else "",
        buffering="" if buffered else "      proxy_buffering off;\n      proxy_request_buffering off;",
    )


class NginxOfGitlab(Program):
    """A running NGINX.

    Args:
        folder: for its files.
        recorded: what gitlab.rb sets.
        gitlab, registry: where Workhorse and the registry answer.

    Attributes:
        ports: on which it listens, GitLab's first.
        backends: where it hands requests on, in the same order.
    """

    def __init__(self, folder: Path, recorded: Mapping[str, Any], gitlab: Address, registry: Address) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.backends = folder, (gitlab, registry)
        rails, images = recorded["gitlab_rails"]["nginx"], recorded["registry"]["nginx"]
        servers = server(recorded["external_url"], rails, gitlab, True)
        servers += server(recorded["registry_external_url"], images, registry, False)
        (folder / "nginx.conf").write_text(CONFIG.format(folder=folder, servers=servers))
        self.ports = [rails["listen_port"], images["listen_port"]]
        self._log = folder / "error.log"
        self._process = subprocess.Popen([tool("nginx"), "-p", folder, "-c", folder / "nginx.conf", "-e", self._log])
        self._is_complete("NGINX", [("127.0.0.1", port) for port in self.ports])

    def __enter__(self) -> NginxOfGitlab:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
