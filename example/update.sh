#!/usr/bin/env bash
#
# Brings the template's improvements into this lab, or changes an answer. `./update.sh --help` says how.
# What it does is the template's: this script fetches that, so that an old lab is updated as a new one is.
set -euo pipefail
unset -v CDPATH GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_COMMON_DIR GIT_OBJECT_DIRECTORY GIT_NAMESPACE GIT_PREFIX
unset -v GIT_ALTERNATE_OBJECT_DIRECTORIES
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"

usage() {
  cat << 'END'
./update.sh                            takes the template's improvements into this lab
./update.sh --data QUESTION=ANSWER ... changes an answer; --data-file FILE changes several
./update.sh --all                      asks every question again, and not only the new ones
./update.sh --pretend                  says from which version to which it would go

Commit first: an update starts from a clean working tree, and commits nothing. update-report.md says what changed and
what that does in the cluster. Every other option is `copier update`'s: --defaults asks nothing, --vcs-ref VERSION goes
to that version, --skip FILE leaves a file alone, --conflict rej writes `.rej` files instead of conflict markers.

It ends with 0: done; 1: done, with conflicts to resolve; 2: refused or stopped, and nothing was changed; 3: cut off
while it wrote, and the next run brings it to its end.
END
}

# stop LINE...: why there is no update. Nothing has been touched when this is said.
stop() {
  printf '%s\n' "$@" 'The lab is as it was.' >&2
  exit 2
}

# recorded NAME: what .copier-answers.yml says, without its quotes. YAML folds a long path at its blanks; an editor may
# have ended the lines as Windows does.
recorded() {
  sed -e $'s/\r$//' .copier-answers.yml | sed -e ':join' -e '$!N' -e 's/\n  */ /' -e 't join' -e 'P' -e 'D' \
    | sed -n "s/^$1: *//p" | sed "s/^'\(.*\)'\$/\1/; s/^\"\(.*\)\"\$/\1/; s/''/'/g"
}

# fetch_driver FOLDER: the template's own part of an update, from its newest commit.
fetch_driver() {
  local said from=$address
  if [[ ! -d $address ]]; then
    said=$(git clone --quiet --depth 1 --no-checkout -- "$address" "$1/template" 2>&1) || unreachable "$said"
    from=$1/template
  fi
  said=$(git -C "$from" archive --output="$1/hooks.tar" HEAD hooks 2>&1) || unreachable "$said"
  tar -xf "$1/hooks.tar" -C "$1"
}

# unreachable TEXT: what Git says of the template, all of it.
unreachable() {
  if [[ $1 == *'dubious ownership'* ]]; then
    stop "The template at $address belongs to another user, so Git does not read it. If you trust it:" \
      "git config --global --add safe.directory $(printf '%q' "$address")"
  fi
  stop "The template cannot be reached at $address: ${1:-it has no commit}" 'Check the network and your access to it.' \
    'If it is elsewhere now, put its address into _src_path in .copier-answers.yml, and commit that.'
}

for argument in "$@"; do
  case $argument in -h | --help) usage && exit ;; esac
done
command -v git > /dev/null || stop 'Git is not installed, and an update is a merge: install it.'
[[ -f .copier-answers.yml ]] || stop 'The answers that made this lab, .copier-answers.yml, are missing.' \
  'Restore them: git checkout HEAD -- .copier-answers.yml'
if grep -q '^<<<<<<< ' .copier-answers.yml; then
  stop 'There are conflict markers in .copier-answers.yml, so your answers cannot be read.' \
    'Keep what is right between them, remove the markers, and commit.'
fi
template=$(recorded _src_path)
made_from=$(recorded _commit)
if [[ -z $template || -z $made_from ]]; then
  stop '.copier-answers.yml does not say which template made this lab:' \
    "_src_path is \"$template\", _commit is \"$made_from\"." \
    'Restore it from an earlier commit: git log -p -- .copier-answers.yml'
fi
case $template in
  gh:*) address=https://github.com/${template#gh:} ;;
  gl:*) address=https://gitlab.com/${template#gl:} ;;
  git+*) address=${template#git+} ;;
  [~]/*) address=$HOME/${template#??} ;;
  *) address=$template ;;
esac
# What has a colon before its first slash is an address: https://…, host:path.git, an alias of ~/.ssh/config.
if [[ ! -e $address && ${address%%/*} != *:* ]]; then
  stop "The template that made this lab, $address, is not there any more." \
    'Put where it is now into _src_path in .copier-answers.yml, and commit that.'
fi

for python in python3 python3.14 python3.13 python3.12 python3.11 python3.10 ''; do
  [[ -n $python ]] || stop 'Python 3.10 or newer is needed. On Debian and Ubuntu: apt install python3'
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2> /dev/null && break
done
# Temporary files in the lab would be changes of the lab.
case $(cd -- "${TMPDIR:-/tmp}" 2> /dev/null && pwd -P)/ in "$(pwd -P)"/*) export TMPDIR=/tmp ;; esac
driver=$(mktemp -d)
trap 'rm -rf -- "$driver"' EXIT
fetch_driver "$driver"
[[ -f $driver/hooks/run.py ]] || stop "The template at $address has no hooks/run.py, so it made no such lab." \
  'Put the address of the right one into _src_path in .copier-answers.yml, and commit that.'
trap - EXIT
# It removes its own folder.
exec "$python" -B "$driver/hooks/run.py" "$driver" "$template" "$address" "$made_from" "$@"
