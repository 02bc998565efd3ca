#!/usr/bin/env bash
#
# From a bare cluster to a working lab. `./bootstrap.sh --help` says how to call it; README.md says what to prepare.
#
# It keeps no record of its own: every stage looks at the cluster, at GitLab and at the runner's machine, and does
# only what is missing there. So it may be stopped at any moment, in any way, and run again.
#
#   bootstrap/lab.sh        this lab's settings, written from the answers given to Copier
#   bootstrap/stages/*.sh   one file a stage; stage_<name> is where to start reading
#   bootstrap/lib/*.sh      what the stages share

if ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] < 404)); then
  printf 'bootstrap.sh needs Bash 4.4 or newer; this is %s. On a Mac: brew install bash.\n' "$BASH_VERSION" >&2
  exit 1
fi

# A trace would print every secret that the script handles, so `bash -x` is turned off again.
set +x
set -Eeuo pipefail
shopt -s inherit_errexit

unset -v CDPATH # with it, cd may go elsewhere, and says so on standard output
LAB_DIR=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
readonly LAB_DIR

# Half a lab would be pushed and rolled out.
if git_dir=$(git -C "$LAB_DIR" rev-parse --absolute-git-dir 2> /dev/null) && [[ -d $git_dir/lab-update/journal ]]; then
  printf 'An update of this lab was cut off while it wrote. %s\n' >&2 \
    'Run ./update.sh: it brings the update to its end. Nothing was done.'
  exit 1
fi

# shellcheck source=bootstrap/lab.sh
source "$LAB_DIR/bootstrap/lab.sh"
# shellcheck source=bootstrap/lib/output.sh
source "$LAB_DIR/bootstrap/lib/output.sh"
# shellcheck source=bootstrap/lib/process.sh
source "$LAB_DIR/bootstrap/lib/process.sh"
# shellcheck source=bootstrap/lib/versions.sh
source "$LAB_DIR/bootstrap/lib/versions.sh"
# shellcheck source=bootstrap/lib/secrets.sh
source "$LAB_DIR/bootstrap/lib/secrets.sh"
# shellcheck source=bootstrap/lib/kube.sh
source "$LAB_DIR/bootstrap/lib/kube.sh"
# shellcheck source=bootstrap/lib/gitlab_api.sh
source "$LAB_DIR/bootstrap/lib/gitlab_api.sh"
# shellcheck source=bootstrap/lib/gitlab_pod.sh
source "$LAB_DIR/bootstrap/lib/gitlab_pod.sh"
# shellcheck source=bootstrap/lib/repository.sh
source "$LAB_DIR/bootstrap/lib/repository.sh"
# shellcheck source=bootstrap/lib/git_credential.sh
source "$LAB_DIR/bootstrap/lib/git_credential.sh"
# shellcheck source=bootstrap/lib/runner_vm.sh
source "$LAB_DIR/bootstrap/lib/runner_vm.sh"
# shellcheck source=bootstrap/stages/preflight.sh
source "$LAB_DIR/bootstrap/stages/preflight.sh"
# shellcheck source=bootstrap/stages/storage.sh
source "$LAB_DIR/bootstrap/stages/storage.sh"
# shellcheck source=bootstrap/stages/flux.sh
source "$LAB_DIR/bootstrap/stages/flux.sh"
# shellcheck source=bootstrap/stages/gitlab.sh
source "$LAB_DIR/bootstrap/stages/gitlab.sh"
# shellcheck source=bootstrap/stages/groups.sh
source "$LAB_DIR/bootstrap/stages/groups.sh"
# shellcheck source=bootstrap/stages/registry.sh
source "$LAB_DIR/bootstrap/stages/registry.sh"
# shellcheck source=bootstrap/stages/sync.sh
source "$LAB_DIR/bootstrap/stages/sync.sh"
# shellcheck source=bootstrap/stages/runner.sh
source "$LAB_DIR/bootstrap/stages/runner.sh"
# shellcheck source=bootstrap/stages/verify.sh
source "$LAB_DIR/bootstrap/stages/verify.sh"

# In this order; each stage stands in bootstrap/stages/<name>.sh.
STAGES=(preflight storage flux gitlab groups registry sync runner verify)
declare -A PURPOSE=(
  [preflight]='tools, cluster, names, ports, storage and memory, checked: every problem at once'
  [storage]='directories and permissions, where the storage backend needs them'
  [flux]="Flux's controllers, those for image automation included"
  [gitlab]='GitLab installed and healthy, its root password in a Secret'
  [groups]="GitLab's groups, the lab's project and the sample project"
  [registry]='deploy tokens that may pull, and regcred wherever images are pulled'
  [sync]='this repository pushed, Flux following it, the GitLab release handed over to Flux'
  [runner]='a runner that takes jobs'
  [verify]='the whole loop, run for real: tag, build, scan, commit, pod'
)
readonly STAGES PURPOSE

usage() {
  cat <<USAGE
Usage: ./bootstrap.sh [OPTION]... [STAGE]

Turns a bare cluster into the lab "$LAB_NAME", stage by stage. Safe to stop and to run again.

  --list         name the stages, in order
  --dry-run      look at everything, change nothing, print what would be done
  --yes          answer yes to every question that it would ask
  --from STAGE   begin with STAGE
  --only STAGE   run STAGE and nothing else; a bare STAGE means the same: ./bootstrap.sh verify
  --help         this text

Environment, all of it optional (the value here is the default):
  LAB_WAIT_FLUX_MINUTES=10     how long to wait for Flux' controllers, for what they apply, and for smaller things
  LAB_WAIT_GITLAB_MINUTES=20   how long GitLab may take to become healthy; its first start is slow
  LAB_WAIT_RUNNER_MINUTES=5    how long the runner may take to report to GitLab
  LAB_WAIT_VERIFY_MINUTES=15   how long each step of the loop may take in verify
  LAB_POLL_SECONDS=5           the pause between two looks while waiting
  LAB_RETRIES=6                how often a request that failed for a passing reason is sent
  LAB_RETRY_SECONDS=1          the first pause between such requests; it doubles up to 60
  LAB_HTTP_SECONDS=60          how long one request to GitLab may take
  LAB_SKIP=''                  names of preflight's checks that are only warnings, for example "dns memory"
  LAB_GIT_USERNAME=''          an external https repository: Flux's user name there ...
  LAB_GIT_PASSWORD_FILE=''     ... and a file that holds its password or token (chmod 600)
  LAB_GIT_HOST_KEY=''          an external ssh repository: fingerprint (SHA256:...) of its host key
  NO_COLOR=1                   no colours
KUBECONFIG and SSH's own configuration are used as they stand.

Exit status: 0 done, 1 something to mend (the last lines say what), 2 wrong call, 130 interrupted.
USAGE
}

list_stages() {
  local stage
  for stage in "${STAGES[@]}"; do
    printf '%-10s %s\n' "$stage" "${PURPOSE[$stage]}"
  done
}

# wrong_call MESSAGE: a mistake on the command line; nothing has been done yet.
wrong_call() {
  printf 'bootstrap.sh: %s\nTry ./bootstrap.sh --help, or ./bootstrap.sh --list.\n' "$1" >&2
  exit 2
}

# require_stage NAME: refuses a name that is no stage.
require_stage() {
  [[ -n ${1-} ]] || wrong_call 'a stage is missing after --from or --only'
  [[ -n ${PURPOSE[$1]-} ]] || wrong_call "there is no stage or option \"$1\""
}

# parse_arguments ARGUMENT...: sets first_stage and only_stage, and what output.sh keeps (dry run, yes).
parse_arguments() {
  while (($#)); do
    case $1 in
      --help | -h) usage; exit 0 ;;
      --list) list_stages; exit 0 ;;
      --dry-run) set_dry_run ;;
      --yes | -y) set_assume_yes ;;
      --from | --only)
        require_stage "${2-}"
        if [[ $1 == --from ]]; then first_stage=$2; else only_stage=$2; fi
        shift
        ;;
      --from=*) require_stage "${1#*=}"; first_stage=${1#*=} ;;
      --only=*) require_stage "${1#*=}"; only_stage=${1#*=} ;;
      -*) wrong_call "there is no option \"$1\"" ;;
      *) require_stage "$1"; only_stage=$1 ;;
    esac
    shift
  done
  if [[ -n $first_stage && -n $only_stage ]]; then
    wrong_call '--from and a single stage exclude each other'
  fi
}

main() {
  local first_stage='' only_stage='' stage number=0 started=true
  parse_arguments "$@"
  start_process
  require_tools
  [[ -z $first_stage ]] || started=false
  for stage in "${STAGES[@]}"; do
    number=$((number + 1))
    [[ $stage != "$first_stage" ]] || started=true
    $started || continue
    [[ -z $only_stage || $stage == "$only_stage" ]] || continue
    begin_stage "$stage" "$number/${#STAGES[@]} $stage: ${PURPOSE[$stage]}"
    if [[ $stage == verify && $only_stage == verify ]]; then
      stage_verify again
    else
      "stage_$stage"
    fi
  done
  finish_output "$only_stage"
}

main "$@"
