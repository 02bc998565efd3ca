#!/usr/bin/env bash
# The credential with which Flux reads and writes the lab's repository: Secret flux-system/flux-system.
# self: an SSH key of its own. external: the same over ssh, or a user name and a token over https.

KEY_PRIVATE=''
KEY_PUBLIC=''
EXTERNAL_USER=''
EXTERNAL_PASSWORD=''

# ensure_git_credential: Secret flux-system/flux-system, with which Flux reads and writes the repository.
ensure_git_credential() {
  kube_get secret flux-system flux-system
  if [[ $GITOPS_SOURCE == external && $GITOPS_URL == https://* ]]; then
    ensure_git_password "$KUBE_OUT"
  else
    ensure_git_key "$KUBE_OUT"
  fi
}

# ensure_git_key SECRET: an SSH key pair and the host keys to expect.
ensure_git_key() {
  local there=$1 hosts known
  KEY_PRIVATE=$(secret_field "$there" identity)
  KEY_PUBLIC=$(secret_field "$there" identity.pub)
  if [[ -n $KEY_PRIVATE ]]; then KEY_PRIVATE+=$'\n'; fi
  hide_secret "$KEY_PRIVATE"
  if dry_run; then
    if [[ -n $KEY_PRIVATE ]]; then
      have "Flux's SSH key, in Secret flux-system/flux-system"
    else
      would 'make an SSH key for Flux in Secret flux-system/flux-system'
    fi
    return 0
  fi
  known=$(secret_field "$there" known_hosts)
  hosts=$(repository_host_keys "$known")
  if [[ -n $KEY_PRIVATE && -n $KEY_PUBLIC && $known == "$hosts" ]]; then
    have "Flux's SSH key, in Secret flux-system/flux-system"
  else
    if [[ -z $KEY_PRIVATE || -z $KEY_PUBLIC ]]; then new_ssh_key "flux-$LAB_NAME"; fi
    put_secret flux-system flux-system Opaque identity "$KEY_PRIVATE" identity.pub "$KEY_PUBLIC" known_hosts "$hosts"
  fi
  if [[ $GITOPS_SOURCE == external ]]; then check_external_key "$hosts"; fi
}

# repository_host_keys KNOWN: the lines of known_hosts for the repository's SSH server.
repository_host_keys() {
  if [[ $GITOPS_SOURCE == self ]]; then
    gitlab_host_keys
  elif [[ -n $1 ]]; then
    printf '%s' "$1"
  else
    scan_host_keys
  fi
}

# gitlab_host_keys: read inside the pod, so that nobody in between can put in their own.
gitlab_host_keys() {
  local name keys
  name=$(known_hosts_name "gitlab-ssh.$GITLAB_NAMESPACE.svc.cluster.local" "$SSH_PORT")
  in_gitlab sh -c 'cat /etc/gitlab/ssh_host_*_key.pub' || die "GitLab's host keys cannot be read: $KUBE_ERR" \
    "kubectl exec deploy/gitlab -n $GITLAB_NAMESPACE -- ls -l /etc/gitlab"
  keys=$(printf '%s\n' "$KUBE_OUT" | awk -v name="$name" 'NF >= 2 && $1 ~ /^(ssh|ecdsa)-/ {print name, $1, $2}' | sort)
  [[ -n $keys ]] \
    || die 'GitLab shows no SSH host keys.' "kubectl exec deploy/gitlab -n $GITLAB_NAMESPACE -- ls -l /etc/gitlab"
  printf '%s' "$keys"
}

# external_address: host and port of an ssh:// GITOPS_URL, as two words.
external_address() {
  local address=${GITOPS_URL#ssh://}
  address=${address%%/*}
  address=${address##*@}
  if [[ $address == *:* ]]; then printf '%s %s' "${address%:*}" "${address##*:}"; else printf '%s 22' "$address"; fi
}

# scan_host_keys: what the network shows of an external server, for the owner to compare.
scan_host_keys() {
  local host port keys prints
  read -r host port <<<"$(external_address)"
  keys=$(ssh-keyscan -T 10 -p "$port" "$host" 2>/dev/null | grep -v '^#' | sort) || keys=''
  [[ -n $keys ]] || die "$host shows no SSH host key on port $port." "ssh -p $port git@$host"
  prints=$(printf '%s\n' "$keys" | ssh-keygen -l -f - | awk '{print $2, $NF}')
  if [[ -n ${LAB_GIT_HOST_KEY-} ]]; then
    [[ " ${prints//$'\n'/ } " == *" $LAB_GIT_HOST_KEY "* ]] \
      || die "$host has none of its host keys under LAB_GIT_HOST_KEY=$LAB_GIT_HOST_KEY. It shows:
$prints" "the page of $host that lists its SSH fingerprints"
  else
    printf '   %s shows these SSH host keys:\n%s\n' "$host" "$prints" >&2
    ask_yes "Are they the ones that $host publishes?" \
      "set LAB_GIT_HOST_KEY=SHA256:... to the fingerprint that $host publishes" \
      || die 'The host keys were not confirmed.' "the page of $host that lists its SSH fingerprints"
  fi
  printf '%s' "$keys"
}

# check_external_key HOSTS: the key has to be known at the external repository, and may write there. A push of what is
# there already, dry, asks exactly that.
check_external_key() {
  local hosts=$1 question
  printf '%s' "$KEY_PRIVATE" >"$LAB_TMP/identity"
  printf '%s\n' "$hosts" >"$LAB_TMP/known_hosts"
  git_speaks_as key
  question="Add this deploy key to $GITOPS_URL with the right to write (image automation pushes):
          $KEY_PUBLIC"
  while ! git_remote "$LAB_DIR" push --quiet --dry-run --no-verify "$GITOPS_URL" "HEAD:refs/heads/flux-may-write"; do
    can_ask || die "Flux's key may not write to $GITOPS_URL yet: $(first_line "$GIT_PROBLEM")" '' "$question
          then run ./bootstrap.sh again"
    printf '   %s\n' "$question"
    ask_yes 'Is it there now?' '' \
      || die "Flux's key may not write to $GITOPS_URL yet." '' 'add it and run ./bootstrap.sh again'
  done
  rm -f -- "$LAB_TMP/identity"
  have "Flux's key may write to $GITOPS_URL"
}

# ensure_git_password SECRET: user name and password for an external https repository.
ensure_git_password() {
  local there=$1 certificate
  EXTERNAL_USER=$(secret_field "$there" username)
  EXTERNAL_PASSWORD=$(secret_field "$there" password)
  hide_secret "$EXTERNAL_PASSWORD"
  if [[ -n $EXTERNAL_PASSWORD ]]; then
    if password_may_write; then
      have "Flux's password for $GITOPS_URL, in Secret flux-system/flux-system"
      return 0
    fi
    if git_may_pass; then die "$GITOPS_URL does not answer: $GIT_PROBLEM" "git ls-remote $GITOPS_URL"; fi
    warn "$GITOPS_URL does not take Flux's password any more: $(first_line "$GIT_PROBLEM")"
  fi
  if dry_run; then
    would "ask for Flux's user name and password at $GITOPS_URL, and keep them in Secret flux-system/flux-system"
    return 0
  fi
  read_git_password
  password_may_write || die "That user may not write to $GITOPS_URL: $GIT_PROBLEM" \
    'the rights of the token: it has to read and write the repository'
  if [[ $PRIVATE_CA == true ]]; then
    certificate=$(<"$LAB_DIR/ca.crt")$'\n'
    put_secret flux-system flux-system Opaque username "$EXTERNAL_USER" password "$EXTERNAL_PASSWORD" \
      ca.crt "$certificate"
  else
    put_secret flux-system flux-system Opaque username "$EXTERNAL_USER" password "$EXTERNAL_PASSWORD"
  fi
}

# password_may_write: asked of the repository itself, by a push that is dry.
password_may_write() {
  git_speaks_as password
  git_remote "$LAB_DIR" push --quiet --dry-run --no-verify "$GITOPS_URL" "HEAD:refs/heads/flux-may-write"
}

# read_git_password: from the owner, or from the variables that --help names.
read_git_password() {
  EXTERNAL_USER=${LAB_GIT_USERNAME-}
  if [[ -z $EXTERNAL_USER ]]; then EXTERNAL_USER=$(ask_line "Flux's user name at $GITOPS_URL:" LAB_GIT_USERNAME); fi
  if [[ -n ${LAB_GIT_PASSWORD_FILE-} ]]; then
    [[ -r $LAB_GIT_PASSWORD_FILE ]] || die "LAB_GIT_PASSWORD_FILE=$LAB_GIT_PASSWORD_FILE cannot be read."
    EXTERNAL_PASSWORD=$(<"$LAB_GIT_PASSWORD_FILE")
  else
    on_terminal || die "There is no terminal to ask for Flux's password at $GITOPS_URL." '' \
      'set LAB_GIT_PASSWORD_FILE to a file that holds it (chmod 600) and run ./bootstrap.sh again'
    read -r -s -p "   ?      its password or token there (not shown): " EXTERNAL_PASSWORD || EXTERNAL_PASSWORD=''
    printf '\n'
  fi
  hide_secret "$EXTERNAL_PASSWORD"
  [[ -n $EXTERNAL_PASSWORD ]] \
    || die 'The password is empty.' '' 'set LAB_GIT_PASSWORD_FILE, or run ./bootstrap.sh again'
}

# new_ssh_key COMMENT: sets KEY_PRIVATE and KEY_PUBLIC.
new_ssh_key() {
  rm -f -- "$LAB_TMP/new-key" "$LAB_TMP/new-key.pub"
  ssh-keygen -q -t ed25519 -N '' -C "$1" -f "$LAB_TMP/new-key" </dev/null
  KEY_PRIVATE=$(<"$LAB_TMP/new-key")$'\n'
  KEY_PUBLIC=$(<"$LAB_TMP/new-key.pub")
  hide_secret "$KEY_PRIVATE"
  rm -f -- "$LAB_TMP/new-key" "$LAB_TMP/new-key.pub"
}

# known_hosts_name HOST PORT: how known_hosts names a host; the brackets only where the port is not 22.
known_hosts_name() {
  if [[ $2 == 22 ]]; then printf '%s' "$1"; else printf '[%s]:%s' "$1" "$2"; fi
}
