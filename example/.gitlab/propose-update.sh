#!/usr/bin/env bash
#
# Lets the template propose its improvements: `copier update` on a branch of its own, pushed with a merge request.
# The scheduled pipeline runs it (.gitlab-ci.yml). What it cannot merge by itself it says in the merge request.
# The job's token reaches Git through its credential helper: it stands on no command line, and nowhere in the log.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

# shellcheck source=../bootstrap/lab.sh
source bootstrap/lab.sh

readonly BRANCH=template-update
readonly AUTHOR='Template update'
readonly REMOTE=$CI_PROJECT_URL.git

# recorded FIELD: what .copier-answers.yml says of the template.
recorded() { sed -n "s/^_$1: *//p" .copier-answers.yml | tr -d "'\""; }

# html TEXT: for a merge request's description, which a push takes on one line only.
html() { printf '%s' "$1" | sed 's/&/\&amp;/g; s/</\&lt;/g; s/>/\&gt;/g'; }

# listed LINE...: standard input, one entry a line, as a list; at most twenty.
listed() {
  local line count=0
  printf '<ul>'
  while IFS= read -r line; do
    count=$((count + 1))
    if ((count <= 20)); then printf '<li><code>%s</code></li>' "$(html "$line")"; fi
  done
  if ((count > 20)); then printf '<li>and %d more</li>' "$((count - 20))"; fi
  printf '</ul>'
}

# set_up_git: who commits, and how Git reaches GitLab, a private certificate authority included.
set_up_git() {
  git config --global user.name "$AUTHOR"
  git config --global user.email "$ADMIN_EMAIL"
  # shellcheck disable=SC2016 # Git's shell expands it when it asks, and nobody earlier
  git config --global "credential.$CI_SERVER_URL.helper" \
    '!f() { test "$1" = get && printf "username=gitlab-ci-token\npassword=%s\n" "$CI_JOB_TOKEN"; }; f'
  if [[ -n ${CI_SERVER_TLS_CA_FILE-} ]]; then
    git config --global "http.$CI_SERVER_URL.sslCAInfo" "$CI_SERVER_TLS_CA_FILE"
  fi
}

# refuse_local_template: a folder on the owner's machine is out of reach here.
refuse_local_template() {
  local source
  source=$(recorded src_path)
  if [[ $source != *://* && $source != *@*:* && $source != gh:* && $source != gl:* ]]; then
    printf 'This lab was made from the folder %s, which no pipeline reaches.\n' "$source"
    printf 'Run copier update there, or put the address of a Git repository of the template into _src_path in .copier-answers.yml.\n'
    exit 1
  fi
}

# leave_others_work: what somebody has pushed onto the branch, to resolve conflicts for example, is not overwritten.
leave_others_work() {
  lease=''
  if ! git fetch --quiet --no-tags "$REMOTE" "refs/heads/$BRANCH" 2>/dev/null; then return 0; fi
  lease=$(git rev-parse FETCH_HEAD)
  if [[ $(git log -1 --format=%an "$lease") != "$AUTHOR" ]]; then
    printf 'Somebody works on the branch %s. Merge it, or delete it; then the next run proposes again.\n' "$BRANCH"
    exit 0
  fi
}

# update: what the template has, merged into this lab, and staged. Sets conflicts: the files with something to resolve.
update() {
  local status=0
  uvx --quiet --from 'copier>=9.19,<10' --with 'copier-template-extensions<1' copier update --trust --defaults || status=$?
  # Copier marks what it could not merge, and says so or not: a template may turn conflicts into a failure.
  conflicts=$(git ls-files --unmerged | cut -f 2 | sort -u)
  if ((status != 0)) && [[ -z $conflicts ]]; then
    printf 'copier update failed, and nothing is proposed. Run it yourself; it may ask, or need a newer Copier.\n'
    exit "$status"
  fi
  git add --all
}

# describe: sets title and description of the merge request.
describe() {
  local from=$1 to=$2 answers
  title="Update from the template, $from to $to"
  description="<p>$(html "$(git diff --cached --shortstat)"), from $(html "$from") to $(html "$to") of $(html "$(recorded src_path)").</p>"
  answers=$(git diff --cached --unified=0 -- .copier-answers.yml | grep -E '^[-+][a-z]' || true)
  if [[ -n $answers ]]; then
    description+="<p>Answers that are new, changed or gone. Look at each: a default may have taken the place of yours.</p>$(listed <<<"$answers")"
  fi
  if [[ -n $conflicts ]]; then
    title="Draft: $title: conflicts"
    description+="<p><strong>Not mergeable as it is.</strong> You and the template changed the same lines. Both versions stand between conflict markers in these files; keep what is right, and push to this branch:</p>$(listed <<<"$conflicts")"
  elif ! uv run --quiet .gitlab/check.py; then
    title="Draft: $title: checks fail"
    description+="<p><strong>The checks fail with it.</strong> $(html "$CI_JOB_URL") says how.</p>"
  fi
}

main() {
  local from lease conflicts title description
  refuse_local_template
  set_up_git
  leave_others_work
  from=$(recorded commit)
  git checkout --quiet -B "$BRANCH"
  update
  if git diff --cached --quiet; then
    printf 'The lab is as the template has it.\n'
    exit 0
  fi
  describe "$from" "$(recorded commit)"
  git commit --quiet --no-verify --message "$title"
  if [[ -n $lease ]] && git diff --quiet "$lease" HEAD; then
    printf 'The branch %s proposes this already.\n' "$BRANCH"
    exit 0
  fi
  git push --quiet --no-verify --force-with-lease="$BRANCH:$lease" \
    -o merge_request.create -o merge_request.target="$CI_COMMIT_BRANCH" -o merge_request.remove_source_branch \
    -o merge_request.title="$title" -o merge_request.description="$description" \
    "$REMOTE" "HEAD:refs/heads/$BRANCH"
  printf 'Proposed: %s/-/merge_requests?source_branch=%s\n' "$CI_PROJECT_URL" "$BRANCH"
}

main "$@"
