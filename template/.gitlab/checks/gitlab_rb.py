"""Whether GitLab can read its settings: each gitlab.rb is Ruby, and names sections and settings that GitLab knows."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path

import tree_sitter_ruby
from tree_sitter import Language, Node, Parser

from .findings import Findings

# What gitlab.rb may begin a setting with (omnibus-gitlab, libraries/gitlab.rb; 19.3). GitLab stops at any other name.
SECTIONS = frozenset(
    "actioncable alertmanager application_role backup_role bootstrap consul consul_role crond external_url"
    " geo_logcursor geo_postgresql geo_primary_role geo_secondary geo_secondary_role git_data_dir git_data_dirs gitaly"
    " gitaly_client gitaly_role gitlab_backup_cli gitlab_ci gitlab_exporter gitlab_kas gitlab_kas_external_url"
    " gitlab_kas_nginx gitlab_pages gitlab_rails gitlab_shell gitlab_sshd gitlab_workhorse high_availability"
    " letsencrypt logging logrotate mailroom manage_accounts manage_storage_directories mattermost"
    " mattermost_external_url mattermost_nginx monitoring_role nginx node_exporter oak package pages_external_url"
    " pages_nginx pages_role patroni patroni_role pgbouncer pgbouncer_exporter pgbouncer_role postgres_exporter"
    " postgres_role postgresql praefect prometheus prometheus_monitoring puma redis redis_exporter redis_master_role"
    " redis_replica_role redis_sentinel_role registry registry_external_url registry_nginx remote_syslog repmgr"
    " repmgrd roles runtime_dir sentinel sidekiq sidekiq_role spamcheck storage_check unicorn user web_server".split()
)
# One section['key'] a line: what GitLab reads (omnibus-gitlab, its configuration template and attribute defaults; 19.3).
_KEYS = Path(__file__).resolve().with_name("gitlab_rb_keys.txt")
_KEYWORDS = frozenset(
    "BEGIN END alias and begin break case class def do else elsif end ensure for if in module next not or redo rescue retry return then undef unless"
    " until when while yield".split()
)


def check(root: Path, findings: Findings) -> None:
    """Find what would keep GitLab from starting after the next push, in each gitlab.rb below apps/."""
    for file in sorted((root / "apps").rglob("gitlab.rb")):
        shown = str(file.relative_to(root))
        source = file.read_bytes()
        broken = list(syntax_errors(source))
        for line in broken[:1]:
            text = source.decode("utf-8", "replace").splitlines()[line - 1].strip()
            findings.fault(
                f"{shown}:{line}",
                f"this is no Ruby, and GitLab would not start: `{text}`, or a line above it. A quote, a bracket or an `end` is missing or too many",
            )
        if not broken:
            for line, name in unknown_sections(source):
                near = difflib.get_close_matches(name, SECTIONS, n=1, cutoff=0.75)
                if near:
                    findings.fault(
                        f"{shown}:{line}",
                        f"GitLab knows no section {name}, and would not start; did you mean {near[0]}?",
                    )
                else:
                    findings.skip(f"{shown}:{line}: whether GitLab knows the section {name}")
            _keys(source, shown, findings)


def _keys(source: bytes, shown: str, findings: Findings) -> None:
    """Find settings that GitLab would pass over in silence."""
    known = frozenset(_KEYS.read_text(encoding="utf-8").split("\n"))
    for line, setting in settings(source):
        section = setting.partition("[")[0]
        if section not in SECTIONS or setting in known:
            continue
        ours = [one for one in known if one.startswith(f"{section}[")]
        near = difflib.get_close_matches(setting, ours, n=1, cutoff=0.9)
        if near:
            what = f"GitLab 19.3 has no setting {setting}, and passes over it; did you mean {near[0]}?"
            findings.fault(f"{shown}:{line}", what)
        else:
            findings.skip(
                f"{shown}:{line}: whether GitLab knows {setting}; it passes over a setting that it does not know"
            )


def _tree(source: bytes) -> Node:
    return Parser(Language(tree_sitter_ruby.language())).parse(source).root_node


def _nodes(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from _nodes(child)


def syntax_errors(source: bytes) -> Iterator[int]:
    """Yield the lines at which Ruby's grammar ends."""
    for node in _nodes(_tree(source)):
        # The parser goes on after an error: an `end` too many is then a name to it.
        stray = node.type == "identifier" and (node.text or b"").decode("utf-8", "replace") in _KEYWORDS
        if node.is_error or node.is_missing or stray:
            yield node.start_point[0] + 1


def unknown_sections(source: bytes) -> Iterator[tuple[int, str]]:
    """Yield line and name of each setting whose section GitLab does not know."""
    for node, section in _uses(source):
        if section not in SECTIONS:
            yield node.start_point[0] + 1, section


def settings(source: bytes) -> Iterator[tuple[int, str]]:
    """Yield line and name of each setting with a plain name, such as `gitlab_rails['time_zone']`."""
    for node, section in _uses(source):
        if node.type != "element_reference":
            continue
        name = next((child for child in node.children if child.type == "string"), None)
        parts = [child for child in name.children if child.is_named] if name is not None else []
        if [part.type for part in parts] == ["string_content"]:
            yield node.start_point[0] + 1, f"{section}['{(parts[0].text or b'').decode('utf-8', 'replace')}']"


def _uses(source: bytes) -> Iterator[tuple[Node, str]]:
    """Yield each place that sets or reads a section, and the section. A variable of the file itself is none."""
    nodes = list(_nodes(_tree(source)))
    own = {(node.text or b"").decode() for node in nodes if _is_local(node)}
    for node in nodes:
        section = _section(node)
        if section is not None and section not in own:
            yield node, section


def _is_local(node: Node) -> bool:
    """Say whether a node is a variable of the file itself: assigned to, or a block's."""
    parent = node.parent
    if node.type != "identifier" or parent is None:
        return False
    return parent.type in ("block_parameters", "left_assignment_list", "method_parameters") or (
        parent.type in ("assignment", "operator_assignment") and parent.child_by_field_name("left") == node
    )


def _section(node: Node) -> str | None:
    """Return the section that a node sets or reads: `x` of `x['y']`, and of `x_external_url 'z'`."""
    if node.type == "element_reference":
        inner = node.child_by_field_name("object")
    elif node.type == "call" and node.child_by_field_name("receiver") is None:
        inner = node.child_by_field_name("method")
        if inner is None or not (inner.text or b"").endswith(b"_url"):
            return None
    else:
        return None
    return (inner.text or b"").decode() if inner is not None and inner.type == "identifier" else None
