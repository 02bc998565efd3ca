#!/usr/bin/env bash
#
# Brings the template's improvements into this lab, or changes an answer: ./update.sh [--data QUESTION=ANSWER] ...
# Every option is copier update's own. Nothing is committed; update-report.md says what changed and what that does.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"

# stop LINE...: why there is no update. Nothing has been touched when this is said.
stop() {
  printf '%s\n' "$@" 'The lab is as it was.' >&2
  exit 1
}

# newest_of TWO VERSIONS: the newer one.
newest_of() { printf '%s\n' "$@" | sort -V | tail -n 1; }

command -v git > /dev/null || stop 'Git is not installed, and an update is a merge: install it.'
template=$(sed -n 's/^_src_path: *//p' .copier-answers.yml | sed "s/^'\(.*\)'\$/\1/; s/^\"\(.*\)\"\$/\1/; s/''/'/g")
case $template in
  gh:*) address=https://github.com/${template#gh:} ;;
  gl:*) address=https://gitlab.com/${template#gl:} ;;
  git+*) address=${template#git+} ;;
  [~]/*) address=$HOME/${template#??} ;;
  *) address=$template ;;
esac

if [[ $address != *://* && $address != *@*:* && ! -e $address ]]; then
  stop "The template that made this lab, $address, is not there any more." \
    'Put where it is now into _src_path in .copier-answers.yml, and commit that.'
fi
if ! said=$(git ls-remote --quiet --exit-code "$address" HEAD 2>&1); then
  stop "The template cannot be reached at $address: $(tail -n 1 <<< "${said:-it has no commit}")" \
    'Check the network and your access to it; or put where it is now into _src_path in .copier-answers.yml, and commit that.'
fi

if command -v copier > /dev/null; then
  version=$(copier --version | sed -n 's/[^0-9]*\([0-9][0-9.]*\).*/\1/p' | head -n 1)
  if [[ $(newest_of "$version" 9.19.0) == "$version" ]]; then
    exec copier update --trust "$@"
  fi
fi
command -v uvx > /dev/null || stop "Copier 9.19 or newer is needed${version:+, and this is $version}." \
  'Install it: pipx install copier && pipx inject copier copier-template-extensions; or install uv, which brings it: docs.astral.sh/uv'
exec uvx --quiet --from 'copier>=9.19,<10' --with 'copier-template-extensions<1' copier update --trust "$@"
