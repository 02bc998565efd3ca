#!/usr/bin/env bash
# Git: this repository and where it is pushed to. Credentials reach Git through a file descriptor that only its
# helper reads; nothing is stored, and the owner's own helpers are not asked.

GIT_PROBLEM=''

# lab_git ARGUMENT...: Git in the lab's working tree.
lab_git() { git -C "$LAB_DIR" "$@"; }

# git_with_password USER PASSWORD ARGUMENT...: Git over https as USER. The helper answers from descriptor 3.
git_with_password() {
  local user=$1 password=$2
  local -a settings=(-c credential.helper= -c 'credential.helper=!cat <&3; :')
  shift 2
  if [[ $PRIVATE_CA == true ]]; then settings+=(-c "http.sslCAInfo=$LAB_DIR/ca.crt"); fi
  GIT_TERMINAL_PROMPT=0 as_owner git "${settings[@]}" "$@" 3< <(printf 'username=%s\npassword=%s\n' "$user" "$password")
}

# git_remote FOLDER ARGUMENT...: runs Git against the lab's GitLab or against the external repository, whichever
# git_access was told; again where the connection broke. Its words end up in GIT_PROBLEM. Only for what may be repeated;
# a push may: pushing what is there already changes nothing.
git_remote() {
  local folder=$1 try status
  shift
  for ((try = 1; ; try++)); do
    status=0
    "git_as_$git_access" -C "$folder" "$@" >"$LAB_TMP/git.out" 2>"$LAB_TMP/git.err" </dev/null || status=$?
    GIT_PROBLEM=$(grep -v '^remote: *$' "$LAB_TMP/git.err" || true)
    if ((status == 0)); then return 0; fi
    if ! git_may_pass || ((try >= LAB_RETRIES)); then return 1; fi
    back_off "$try" "git: $(first_line "$GIT_PROBLEM")"
  done
}

git_access=gitlab

# git_speaks_as WHO: gitlab (this run's token), owner (their own credentials), and for an external repository as Flux
# will: key, password.
git_speaks_as() { git_access=$1; }

git_as_gitlab() { git_with_password root "$ROOT_TOKEN" "$@"; }
git_as_password() { git_with_password "$EXTERNAL_USER" "$EXTERNAL_PASSWORD" "$@"; }
git_as_owner() { GIT_TERMINAL_PROMPT=0 as_owner git "$@"; }
git_as_key() {
  local ssh
  ssh="ssh -o BatchMode=yes -o IdentitiesOnly=yes -o StrictHostKeyChecking=yes -i $(shell_quote "$LAB_TMP/identity")"
  ssh+=" -o UserKnownHostsFile=$(shell_quote "$LAB_TMP/known_hosts")"
  GIT_SSH_COMMAND=$ssh as_owner git "$@" 9<&-
}

# git_may_pass: the network's fault, not Git's answer.
git_may_pass() {
  local passing='[Cc]onnection|timed out|early EOF|hung up|RPC failed|returned error: (5|429)|Empty reply'
  if [[ $GIT_PROBLEM == *'Permission denied'* || $GIT_PROBLEM == *'verification failed'* ]]; then return 1; fi
  [[ $GIT_PROBLEM =~ $passing ]]
}

# push_branch URL: brings GITOPS_BRANCH at URL to this repository's HEAD, unless it is there or further.
push_branch() {
  local url=$1 head there
  head=$(lab_git rev-parse --verify HEAD)
  git_remote "$LAB_DIR" ls-remote "$url" "refs/heads/$GITOPS_BRANCH" || return 1
  there=$(cut -f 1 "$LAB_TMP/git.out")
  if [[ $there == "$head" ]]; then
    have "$GITOPS_BRANCH is pushed"
    return 0
  fi
  if dry_run; then
    would "bring $url, branch $GITOPS_BRANCH, to $(lab_git rev-parse --short HEAD), unless it is further"
    return 0
  fi
  if [[ -n $there ]]; then
    git_remote "$LAB_DIR" fetch --quiet --no-tags "$url" "refs/heads/$GITOPS_BRANCH" || return 1
    if lab_git merge-base --is-ancestor "$head" "$there"; then
      have "$GITOPS_BRANCH is pushed; it has newer commits (image updates, for example): git pull"
      return 0
    fi
    lab_git merge-base --is-ancestor "$there" "$head" \
      || die "$GITOPS_BRANCH here and at $url have gone different ways." \
        "git fetch $url $GITOPS_BRANCH; git log --graph HEAD FETCH_HEAD" \
        'git pull --rebase, then run ./bootstrap.sh --from sync'
  fi
  git_remote "$LAB_DIR" push --quiet --no-verify "$url" "HEAD:refs/heads/$GITOPS_BRANCH" || return 1
  did "pushed $(lab_git rev-parse --short HEAD) to $url, branch $GITOPS_BRANCH"
}

# push_folder FOLDER URL BRANCH MESSAGE: a new repository out of a folder's files, pushed as its first commit.
push_folder() {
  local new="$LAB_TMP/new-repository"
  rm -rf -- "$new"
  mkdir -p "$new"
  cp -R "$1/." "$new/"
  git -C "$new" init --quiet
  git -C "$new" symbolic-ref HEAD "refs/heads/$3"
  git -C "$new" add --all --force
  git -C "$new" -c user.name="$LAB_NAME bootstrap" -c user.email="$ADMIN_EMAIL" -c commit.gpgsign=false \
    commit --quiet --no-verify --message "$4"
  git_remote "$new" push --quiet --no-verify "$2" "HEAD:refs/heads/$3"
}

# uncommitted: the tracked files that differ from the last commit, one a line.
uncommitted() {
  lab_git status --porcelain --untracked-files=no | cut -c 4-
}
