#!/usr/bin/env bash
#
# Lets the template propose its improvements: ./update.sh on a branch of its own, pushed with a merge request.
# The scheduled pipeline runs it (.gitlab-ci.yml). What could not be merged it says in the merge request, with the whole report.
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

# report_as_html: update-report.md on one line, since a push takes no other; without its last words, which are for a terminal.
report_as_html() {
  [[ -e update-report.md ]] || return 0
  # shellcheck disable=SC2016 # the backticks are those of the text
  sed -e '/^Nothing is committed/,$d' -e 's/&/\&amp;/g; s/</\&lt;/g; s/>/\&gt;/g; s/`\([^`]*\)`/<code>\1<\/code>/g' update-report.md \
    | awk '
        function list(now) { if (now != open) printf now ? "<ul>" : "</ul>"; open = now }
        /^#/ { list(0); sub(/^#+ */, ""); printf "<h4>%s</h4>", $0; next }
        /^- / { list(1); printf "<li>%s</li>", substr($0, 3); next }
        /./ { list(0); printf "<p>%s</p>", $0 }
        END { list(0) }' \
    | cut -c 1-30000
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

# update: what the template has, merged into this lab, and staged. Sets conflicts to the files with something to resolve.
update() {
  local status=0
  bash update.sh --defaults || status=$?
  conflicts=$(git ls-files --unmerged | cut -f 2 | sort -u)
  if ((status != 0)) && [[ -z $conflicts ]]; then
    printf 'There was no update, so nothing is proposed; the reason stands above.\n'
    exit "$status"
  fi
  git add --all
}

# describe: sets title and description of the merge request.
describe() {
  title="Update from the template, $1 to $2"
  description=$(report_as_html)
  if [[ -n $conflicts ]]; then
    title="Draft: $title: conflicts"
    description="<p><strong>Not mergeable as it is:</strong> you and the template changed the same lines of ${conflicts//$'\n'/, }.
      Both versions stand there between conflict markers. Keep what is right, and push to this branch.</p>$description"
  # GitLab starts no pipeline for what a job pushes, so the checks run here.
  elif ! uv run --quiet .gitlab/check.py; then
    title="Draft: $title: checks fail"
    description="<p><strong>The checks fail with it:</strong> $CI_JOB_URL says how.</p>$description"
  fi
  description=${description//$'\n'/ }
}

main() {
  local from lease conflicts title description
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
