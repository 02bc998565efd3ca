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

# recorded NAME: what .copier-answers.yml says, without its quotes. YAML folds a long path at its blanks; an editor may have
# ended the lines as Windows does.
recorded() {
  sed -e $'s/\r$//' .copier-answers.yml | sed -e ':join' -e '$!N' -e 's/\n  */ /' -e 't join' -e 'P' -e 'D' \
    | sed -n "s/^$1: *//p" | sed "s/^'\(.*\)'\$/\1/; s/^\"\(.*\)\"\$/\1/; s/''/'/g"
}

# holds REPOSITORY: whether its history holds the commit that made this lab.
holds() { git -C "$1" cat-file -e "${made_from##*-g}^{commit}" 2> /dev/null; }

# template_holds: the same of the template. Of a remote one the commits alone are fetched; where that fails, Copier says why.
template_holds() {
  local history missing=0
  if [[ -d $address ]]; then
    holds "$address"
    return
  fi
  history=$(mktemp -d)
  if git clone --quiet --bare --filter=tree:0 "$address" "$history" 2> /dev/null; then
    holds "$history" || missing=1
  fi
  rm -rf -- "$history"
  return "$missing"
}

command -v git > /dev/null || stop 'Git is not installed, and an update is a merge: install it.'
[[ -f .copier-answers.yml ]] || stop 'The answers that made this lab, .copier-answers.yml, are missing.' 'Restore them: git checkout HEAD -- .copier-answers.yml'
if grep -q '^<<<<<<< ' .copier-answers.yml; then
  stop 'There are conflict markers in .copier-answers.yml, so your answers cannot be read.' 'Keep what is right between them, remove the markers, and commit.'
fi
template=$(recorded _src_path)
made_from=$(recorded _commit)
if [[ -z $template || -z $made_from ]]; then
  stop "$(printf '.copier-answers.yml does not say which template made this lab: _src_path is "%s", _commit is "%s".' "$template" "$made_from")" \
    'Restore it from an earlier commit: git log -p -- .copier-answers.yml'
fi
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
if ! said=$(git ls-remote --quiet --exit-code "$address" HEAD 'refs/tags/*' 2>&1); then
  stop "The template cannot be reached at $address: $(tail -n 1 <<< "${said:-it has no commit}")" \
    'Check the network and your access to it; or put where it is now into _src_path in .copier-answers.yml, and commit that.'
fi
# Without the version that made this lab nobody can tell your edits from it.
if [[ $made_from =~ ^v[0-9]+\.[0-9]+\.[0-9]+$ ]]; then
  grep -q "refs/tags/$made_from\$" <<< "$said" || lost=$made_from
elif ! template_holds; then
  lost=$made_from
fi
if [[ -n ${lost-} ]]; then
  stop "The template at $address has no version $lost any more, which made this lab, so your edits cannot be told from it." \
    'Put the version that comes nearest into _commit in .copier-answers.yml, commit that, and update again.'
fi

copier=(copier)
command -v copier > /dev/null && version=$(copier --version | sed -n 's/[^0-9]*\([0-9][0-9.]*\).*/\1/p' | head -n 1)
if [[ -z ${version-} || $(newest_of "$version" 9.19.0) != "$version" ]]; then
  command -v uvx > /dev/null || stop "Copier 9.19 or newer is needed${version:+, and this is $version}." \
    'Install it: pipx install copier && pipx inject copier copier-template-extensions; or install uv, which brings it: docs.astral.sh/uv'
  copier=(uvx --quiet --from 'copier>=9.19,<10' --with 'copier-template-extensions<1' copier)
fi
# Copier reads the answers before anything of the template can speak, and shows where it stopped in its own code.
if said=$("${copier[@]}" check-update --quiet 2>&1) || [[ $said != *yaml.*Error:* ]]; then
  exec "${copier[@]}" update --trust "$@"
fi
place=${said##*, line }
stop "The answers that made this lab cannot be read: .copier-answers.yml is not YAML at line ${place%%,*}." \
  'Mend that line, and commit; or restore the file: git log -p -- .copier-answers.yml'
