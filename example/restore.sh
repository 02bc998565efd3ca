#!/usr/bin/env bash
#
# Brings GitLab's data back from a backup of GitLab's own tools, in the pod that runs. README.md says when.
#
#   ./restore.sh --list                 the backups that the pod has
#   ./restore.sh BACKUP                 restore one of them (its name up to "_gitlab_backup.tar")
#   ./restore.sh --from FILE [--config FILE]
#                                       restore files that were kept elsewhere: the data, and the configuration
#                                       (gitlab_config_*.tar, with the keys that decrypt what the data holds)
#   --yes                               do not ask
#
# A backup fits the very version of GitLab that wrote it, and is worth nothing without its gitlab-secrets.json.
# https://docs.gitlab.com/administration/backup_restore/restore_gitlab/

set +x
set -Eeuo pipefail
shopt -s inherit_errexit

unset -v CDPATH # with it, cd may go elsewhere, and says so on standard output
LAB_DIR=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
readonly LAB_DIR
# shellcheck source=bootstrap/lab.sh
source "$LAB_DIR/bootstrap/lab.sh"
# shellcheck source=bootstrap/lib/output.sh
source "$LAB_DIR/bootstrap/lib/output.sh"
# shellcheck source=bootstrap/lib/versions.sh
source "$LAB_DIR/bootstrap/lib/versions.sh"

readonly BACKUPS_IN_POD=/var/opt/gitlab/backups
readonly CONFIGS_IN_POD=/etc/gitlab/config_backup
suspended=false       # the release in Flux, by this run
changed=false         # the Deployment, by this run

# usage: the head of this file.
usage() { sed -n '3,/^$/s/^# \{0,1\}//p' "$LAB_DIR/restore.sh"; }

# pod COMMAND...: in GitLab's container.
pod() { kubectl exec --namespace "$GITLAB_NAMESPACE" deploy/gitlab -- "$@" </dev/null; }

# pod_put FILE TARGET: a local file into the container, whole: a connection that breaks may look like the file's end. It
# goes through the pipe; others on this machine see nothing.
pod_put() {
  local bytes
  bytes=$(($(wc -c <"$1")))
  kubectl exec --stdin --namespace "$GITLAB_NAMESPACE" deploy/gitlab -- sh -c \
    "umask 077; cat >'$2.part' && test \$(wc -c <'$2.part') -eq $bytes && mv '$2.part' '$2'" <"$1"
}

main() {
  local backup='' data_file='' config_file=''
  while (($#)); do
    case $1 in
      --help | -h) usage; exit 0 ;;
      --list) list_backups; exit 0 ;;
      --yes | -y) set_assume_yes ;;
      --from) data_file=${2-}; shift ;;
      --config) config_file=${2-}; shift ;;
      -*) die "There is no option \"$1\"." '' './restore.sh --help' ;;
      *) backup=$1 ;;
    esac
    shift || true
  done
  if [[ -n $data_file ]]; then
    [[ -r $data_file ]] || die "The file \"$data_file\" cannot be read."
    backup=$(basename -- "$data_file" _gitlab_backup.tar)
  fi
  if [[ -n $config_file && ! -r $config_file ]]; then die "The file \"$config_file\" cannot be read."; fi
  [[ -n $backup ]] || die 'Which backup?' './restore.sh --list' './restore.sh BACKUP'
  backup=${backup%_gitlab_backup.tar}
  check_name "$backup"
  check_version_of "$backup"
  restore "$backup" "$data_file" "$config_file"
}

# check_name BACKUP: 1700000000_2026_01_31_19.3.0; it becomes part of a path and of a command.
check_name() {
  [[ $1 =~ ^[0-9]+_[0-9]{4}_[0-9]{2}_[0-9]{2}_[0-9]+\.[0-9]+\.[0-9]+(-[a-z]+)?$ ]] \
    || die "\"$1\" is not the name of a GitLab backup." './restore.sh --list'
}

list_backups() {
  pod sh -c "ls -1t $BACKUPS_IN_POD 2>/dev/null | sed -n 's/_gitlab_backup.tar\$//p'" \
    || die 'The backups cannot be listed.' "kubectl get pods -n $GITLAB_NAMESPACE"
}

# check_version_of BACKUP: GitLab refuses a backup of another version, after it has stopped itself. Better to know
# before.
check_version_of() {
  local made_by running
  made_by=$(version_numbers "${1##*_}")
  running=$(pod cat /opt/gitlab/embedded/service/gitlab-rails/VERSION) \
    || die 'GitLab does not run.' "kubectl get pods -n $GITLAB_NAMESPACE" \
      'bring it up first (./bootstrap.sh --from gitlab), then restore into it'
  running=$(version_numbers "$running")
  [[ $made_by == "$running" ]] || die "The backup was written by GitLab $made_by; $running runs." '' \
    "set gitlab_version to $made_by, let that version start, restore, then upgrade"
}

# restore BACKUP DATA_FILE CONFIG_FILE
restore() {
  local backup=$1
  if [[ -z $2 ]] && ! pod test -f "$BACKUPS_IN_POD/${backup}_gitlab_backup.tar"; then
    die "The pod has no backup $backup." './restore.sh --list' './restore.sh --from FILE restores a file from here'
  fi
  ask_yes "Everything in GitLab now is replaced by the backup $backup. Go on?" './restore.sh --yes' \
    || die 'Not restored.' '' 'nothing was changed'
  trap 'give_back' EXIT
  trap 'stopped "$backup"' HUP INT TERM
  take_from_flux
  if [[ -n $2 ]]; then
    doing 'copying the backup into the pod'
    if ! { pod_put "$2" "$BACKUPS_IN_POD/${backup}_gitlab_backup.tar" \
      && pod chown git:git "$BACKUPS_IN_POD/${backup}_gitlab_backup.tar"; }; then
      die 'The backup could not be copied into the pod.' \
        "kubectl exec deploy/gitlab -n $GITLAB_NAMESPACE -- df -h $BACKUPS_IN_POD"
    fi
  fi
  restore_configuration "$3"
  doing 'stopping what writes (puma, sidekiq, registry)'
  if ! { pod gitlab-ctl stop puma && pod gitlab-ctl stop sidekiq && pod gitlab-ctl stop registry; } >/dev/null; then
    die 'GitLab could not be stopped for the restore.' \
      "kubectl exec deploy/gitlab -n $GITLAB_NAMESPACE -- gitlab-ctl status"
  fi
  doing "restoring $backup; this takes as long as the backup did"
  pod env GITLAB_ASSUME_YES=1 gitlab-backup restore "BACKUP=$backup" \
    || die "GitLab did not restore $backup." 'the lines above' "run ./restore.sh $backup again: it begins anew"
  did "restored $backup"
  give_back
  trap - EXIT
  wait_for_gitlab
  doing 'checking the result'
  check_secrets
  have "GitLab runs on the backup $backup; its tokens are those of that day: ./bootstrap.sh mends what no longer fits"
}

# check_secrets: whether the data can be decrypted. The task ends well whatever it finds; its last line says how much.
check_secrets() {
  local report
  report=$(pod gitlab-rake gitlab:doctor:secrets) || report=''
  printf '%s\n' "$report"
  if [[ $report != *'Total: 0 row'* ]]; then
    warn 'Some secrets cannot be decrypted: the configuration (gitlab-secrets.json) does not belong to this backup.'
  fi
}

# take_from_flux: Flux would undo what follows, and the probes would kill a GitLab whose web server is stopped. The pod
# is replaced once here and once at the end; the second start also reconfigures GitLab with what was restored.
take_from_flux() {
  if kubectl get helmreleases.helm.toolkit.fluxcd.io gitlab --namespace "$GITLAB_NAMESPACE" >/dev/null 2>&1; then
    doing 'suspending the GitLab release in Flux'
    suspended=true
    flux suspend helmrelease gitlab --namespace "$GITLAB_NAMESPACE" >/dev/null \
      || die 'Flux does not let go of the GitLab release.' "flux get helmreleases -n $GITLAB_NAMESPACE"
  fi
  doing 'taking the probes off, so that nothing restarts GitLab meanwhile'
  changed=true
  if ! { kubectl patch deployment gitlab --namespace "$GITLAB_NAMESPACE" --type json --patch "$(probes_patch)" \
    && kubectl rollout status deployment gitlab --namespace "$GITLAB_NAMESPACE" --timeout=20m; } >/dev/null; then
    die "GitLab's Deployment could not be changed for the restore." "kubectl get deploy,pods -n $GITLAB_NAMESPACE"
  fi
  wait_for_gitlab
}

# probes_patch: removes the probes that the container has.
probes_patch() {
  kubectl get deployment gitlab --namespace "$GITLAB_NAMESPACE" --output json | jq --compact-output '
    [.spec.template.spec.containers[0] | keys[] | select(IN("startupProbe", "readinessProbe", "livenessProbe"))
     | {op: "remove", path: "/spec/template/spec/containers/0/\(.)"}]'
}

# wait_for_gitlab: a pod that is rolled out need not be a GitLab that answers; its Rails has to reach the database.
wait_for_gitlab() {
  local try
  doing 'waiting for GitLab to come up (minutes)'
  for ((try = 0; try < ${LAB_RESTORE_TRIES:-120}; try++)); do
    if pod gitlab-ctl status puma >/dev/null 2>&1 && pod gitlab-rake gitlab:env:info >/dev/null 2>&1; then return 0; fi
    sleep "${LAB_POLL_SECONDS:-10}"
  done
  die 'GitLab did not come up.' "kubectl logs deploy/gitlab -n $GITLAB_NAMESPACE --tail=80"
}

# restore_configuration [FILE]: gitlab-secrets.json and the SSH host keys; the newest that the pod has, unless given.
# gitlab-ctl backup-etc packs them as /etc/gitlab/..., an owner's own tar perhaps as etc/gitlab/...: the * takes both.
restore_configuration() {
  local newest
  if [[ -n $1 ]]; then
    doing 'copying the configuration into the pod'
    if ! { pod mkdir -p "$CONFIGS_IN_POD" && pod_put "$1" "$CONFIGS_IN_POD/gitlab_config_restored.tar"; }; then
      die 'The configuration could not be copied into the pod.' \
        "kubectl exec deploy/gitlab -n $GITLAB_NAMESPACE -- df -h /etc/gitlab"
    fi
    newest=gitlab_config_restored.tar
  else
    newest=$(pod sh -c "ls -1t $CONFIGS_IN_POD 2>/dev/null | head -n 1")
  fi
  if [[ -z $newest ]]; then
    warn "There is no backup of GitLab's configuration; the one in place is kept.
If it is not of this backup, tokens and two-factor secrets are lost."
    return 0
  fi
  pod tar --extract --file "$CONFIGS_IN_POD/$newest" --directory / --wildcards '*etc/gitlab/gitlab-secrets.json' \
    '*etc/gitlab/ssh_host_*' \
    || die "The configuration in $newest could not be unpacked." \
    "kubectl exec deploy/gitlab -n $GITLAB_NAMESPACE -- tar -tf $CONFIGS_IN_POD/$newest"
  pod gitlab-ctl reconfigure >/dev/null || die 'GitLab could not be reconfigured with the restored secrets.' \
    "kubectl exec deploy/gitlab -n $GITLAB_NAMESPACE -- gitlab-ctl reconfigure"
  did "gitlab-secrets.json and host keys from $newest"
}

# stopped BACKUP
stopped() {
  printf '\n   stopped; GitLab may hold half of the backup now: run ./restore.sh %s again, it begins anew\n' "$1" >&2
  exit 130
}

# give_back: the release to Flux again, which puts the probes back; without Flux, what Helm installed is applied anew.
# A roll-back of the Deployment might bring back more than the probes: an older GitLab, after a run that was killed.
give_back() {
  if $suspended; then
    suspended=false
    doing 'giving the release back to Flux'
    flux resume helmrelease gitlab --namespace "$GITLAB_NAMESPACE" >/dev/null \
      || warn "flux resume helmrelease gitlab -n $GITLAB_NAMESPACE did not work; run it by hand."
    flux reconcile helmrelease gitlab --namespace "$GITLAB_NAMESPACE" --force >/dev/null 2>&1 || true
  elif $changed; then
    doing 'putting the probes back'
    helm get manifest gitlab --namespace "$GITLAB_NAMESPACE" | kubectl apply --namespace "$GITLAB_NAMESPACE" \
      --server-side --force-conflicts --field-manager=helm --filename - >/dev/null \
      || warn "GitLab runs without its probes. To put them back:
helm get manifest gitlab -n $GITLAB_NAMESPACE | kubectl apply -n $GITLAB_NAMESPACE --server-side --force-conflicts -f -"
  fi
  changed=false
  kubectl rollout status deployment gitlab --namespace "$GITLAB_NAMESPACE" --timeout=20m >/dev/null || true
}

main "$@"
