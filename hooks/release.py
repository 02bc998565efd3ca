"""What `make release VERSION=x.y.z` runs: everything that an owner's update relies on is checked, then the version is
tagged.

Exits with 1 and all that is missing, each with what to do, before anything is tagged.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from extensions import facts, images  # noqa: E402
from hooks import answer_changes, lab_chart, renames  # noqa: E402


def git(root: Path, *arguments: str) -> str:
    """Return what Git says in the checkout."""
    done = subprocess.run(
        ["git", "-c", "core.quotePath=false", *arguments], cwd=root, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise OSError(f"git {arguments[0]}: {done.stderr.strip()}")
    return done.stdout


def path_in_lab(path: str) -> str:
    """Return where a file of template/ stands in a lab, an answer as {its_name}: what renames.yml calls it."""
    path = re.sub(r"\{%[^%]*%\}", "", path.removeprefix("template/").removesuffix(".jinja"))
    return re.sub(r"\{\{ *(\w+) *\}\}", r"{\1}", path)


def paths_at(root: Path, revision: str) -> set[str]:
    """Return the lab's paths, as the template had them at a revision."""
    listed = git(root, "ls-tree", "-r", "-z", "--name-only", revision, "template/").split("\0")
    return {path_in_lab(name) for name in listed if name and "_copier_conf" not in name}


def questions_at(root: Path, revision: str) -> set[str]:
    """Return the questions' names at a revision."""
    files = [
        name
        for name in git(root, "ls-tree", "--name-only", revision, "questions/").splitlines()
        if name.endswith(".yml")
    ]
    return {name for file in files for name in yaml.safe_load(git(root, "show", f"{revision}:{file}")) or {}}


def last_tag(root: Path) -> str | None:
    """Return the newest version's tag, or None before the first release."""
    tags = [tag for tag in git(root, "tag", "--list", "v*").split() if re.fullmatch(r"v\d+\.\d+\.\d+", tag)]
    return max(tags, key=lambda tag: Version(tag[1:]), default=None)


def order_problem(version: str, last: str | None) -> str | None:
    """Return why *version* cannot follow *last*, a tag; None where it can."""
    found = re.fullmatch(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)", version)
    if found is None:
        return f"`{version}` is no version; give three numbers, such as VERSION=1.2.0"
    if last is None:
        return None
    major, minor, patch = (int(part) for part in last[1:].split("."))
    following = {(major, minor, patch + 1), (major, minor + 1, 0), (major + 1, 0, 0)}
    if tuple(int(part) for part in found.groups()) not in following:
        ways = " or ".join(".".join(str(part) for part in one) for one in sorted(following))
        return f"`{version}` does not follow {last}; {ways} does"
    return None


def table_problems(table: dict[str, Any], version: str, gone: set[str], there: set[str]) -> list[str]:
    """Return what renames.yml lacks or has wrongly.

    Args:
        table: renames.yml, by version.
        version: the one to be released.
        gone: paths of the lab that the last release had, and this one has not.
        there: those that this one has.
    """
    found = []
    if table.get("unreleased"):
        found.append(f'hooks/renames.yml has entries under `unreleased`; call that section "{version}"')
    section = {**(table.get("unreleased") or {}), **(table.get(version) or {})}
    moved, split, removed = (section.get(kind) or {} for kind in ("moved", "split", "removed"))
    sources = [*moved, *split, *removed]
    found += [
        f'`{path}` is gone since the last release; say in hooks/renames.yml, under "{version}", where it moved, or'
        " under `removed` why"
        for path in sorted(gone)
        if not any(_covers(source, path) for source in sources)
    ]
    targets = [*moved.values(), *(part for parts in split.values() for part in parts)]
    found += [
        f"hooks/renames.yml sends a file to `{target}`, which no lab has"
        for target in targets
        if not any(_covers(target, path) for path in there)
    ]
    return found


def _covers(named: str, path: str) -> bool:
    """Say whether a path of the table names this one: itself, or a folder that it is in."""
    return path == named or (named.endswith("/") and path.startswith(named))


def shape_problems(before: set[str], there: set[str]) -> list[str]:
    """Return the files of the last release that are folders now, and the folders that are files: Copier can write
    neither over the other.
    """
    found = [(path, "file", "folder") for path in before & folders(there)] + [
        (path, "folder", "file") for path in folders(before) & there
    ]
    return [
        f"`{path}` was a {old} in the last release and is a {new} now, so no lab could be updated; give it another name"
        for path, old, new in sorted(found)
    ]


def folders(paths: set[str]) -> set[str]:
    """Return all folders that paths lie in."""
    return {parent.as_posix() for path in paths for parent in Path(path).parents}


def question_problems(gone: set[str], changes: dict[str, Any], version: str) -> list[str]:
    """Return which questions vanished without a word in hooks/answer_changes.py."""
    found = []
    if changes.get("unreleased"):
        found.append(f'hooks/answer_changes.py has changes under `unreleased`; call that section "{version}"')
    told = {change.question for section in ("unreleased", version) for change in changes.get(section, ())}
    found += [
        f'`{name}` is asked no more; say in hooks/answer_changes.py, under "{version}", what becomes of its answer'
        for name in sorted(gone - told)
    ]
    return found


# An image's name that stands in a file as it is: of a container, of a job, of a Dockerfile, or in the lab's program.
_IMAGE = re.compile(
    r"^[ -]*(?:image: |name: |FROM |IMAGE = )\"?([a-z][\w./-]*:[\w.-]+(?:@sha256:[0-9a-f]+)?)\"?(?: AS \w+)?$",
    re.MULTILINE,
)


def named_images(root: Path) -> list[tuple[str, str]]:
    """Return where an image of a new lab is named, and how, as far as no answer decides it.

    Args:
        root: the checkout, whose files are read; the versions are those that a new lab is offered.
    """
    docker = f"docker:{facts.DEFAULT_DOCKER_VERSION}"
    offered = [facts.KUBECTL_IMAGE, facts.BUILDKIT_IMAGE, facts.JOB_IMAGE, facts.TOFU_IMAGE]
    offered += [facts.PYTHON_IMAGE, facts.SIGN_IN_IMAGE, facts.DOCKER_HUB_CACHE_IMAGE]
    offered += [f"{docker}-cli", f"{docker}-dind"]
    named = [("extensions/facts.py", images.pinned(image)) for image in offered]
    for folder in ("template", "partials"):
        for file in sorted((root / folder).rglob("*")):
            # What Python compiles lies there too, in a checkout that has run the lab's program.
            if file.is_file() and not {".md", ".pyc"} & set(file.suffixes):
                text = file.read_text(encoding="utf-8")
                named += [(file.relative_to(root).as_posix(), image) for image in _IMAGE.findall(text)]
    return named


def image_problems(root: Path) -> list[str]:
    """Return which images of a new lab have neither the digest of their tag nor an excuse in extensions/images.py."""
    return [f"{file}: {why}" for file, image in named_images(root) if (why := images.unsettled(image)) is not None]


def example_is_fresh(root: Path) -> bool:
    """Say whether example/ is what the template makes today."""
    from tests.render_example import render  # noqa: PLC0415 - it brings Copier along

    with tempfile.TemporaryDirectory() as folder:
        fresh = render(Path(folder))
        done = subprocess.run(
            ["diff", "--recursive", "--brief", "--exclude=.git", str(root / "example"), str(fresh)],
            capture_output=True,
            check=False,
        )
    return done.returncode == 0


def problems(root: Path, version: str, fresh: Callable[[Path], bool] = example_is_fresh) -> list[str]:
    """Return all that stands between this checkout and a release, a line each, with what to do."""
    last = last_tag(root)
    order = order_problem(version, last)
    if order is not None:
        return [order]
    found = []
    if git(root, "status", "--porcelain").strip():
        found.append("the checkout has changes; commit them first")
    if not re.search(
        rf"^## \[?{re.escape(version)}\]?( |$)", (root / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE
    ):
        found.append(f"CHANGELOG.md has no section `## {version}`; give that name to what is under Unreleased")
    # The first release renames nothing, and says what became of labs that were made before it.
    there, asked = paths_at(root, "HEAD"), questions_at(root, "HEAD")
    before = paths_at(root, last) if last else there
    found += table_problems(renames.table(root / "hooks" / "renames.yml"), version, before - there, there)
    found += question_problems((questions_at(root, last) if last else asked) - asked, answer_changes.CHANGES, version)
    if last is not None:
        found += shape_problems(before, there)
        if git(root, "diff", "--name-only", last, "HEAD", "--", "template/charts/app").strip():
            old, new = (
                lab_chart.version(git(root, "show", f"{revision}:template/charts/app/Chart.yaml"))
                for revision in (last, "HEAD")
            )
            if old == new:
                found.append(
                    f"charts/app changed and is still {new}, so Flux would release nothing; raise `version` in its"
                    " Chart.yaml"
                )
    found += image_problems(root)
    if not fresh(root):
        found.append("example/ is not what the template makes; run `make example`, and commit it")
    return found


def main(version: str) -> int:
    """Tag the version, or say what is missing; return the exit code."""
    if not version:
        print("Which version? For example: make release VERSION=1.2.0", file=sys.stderr)
        return 2
    found = problems(ROOT, version)
    if found:
        print(f"{version} is not released:\n" + "\n".join(f"  {line}" for line in found), file=sys.stderr)
        return 1
    git(ROOT, "tag", "--annotate", f"v{version}", "--message", f"Version {version}")
    print(f"Tagged v{version}. To publish it: git push origin HEAD v{version}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ""))
