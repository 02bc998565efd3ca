#!/usr/bin/env bash
#
# Adds an application to the lab: its release, its image policy, and what makes Flux follow them, in the shape of apps/demo.
# It writes files here and nothing else; `./new-app.sh --help` says how to call it, and how to remove an application.

if ((BASH_VERSINFO[0] < 4)); then
  printf 'new-app.sh needs Bash 4 or newer; this is %s. On a Mac: brew install bash.\n' "$BASH_VERSION" >&2
  exit 1
fi
set -euo pipefail
# Elsewhere [a-z] may take in letters such as "ü", which no host and no image can have.
export LC_ALL=C

LAB_DIR=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
readonly LAB_DIR
# shellcheck source=bootstrap/lab.sh
source "$LAB_DIR/bootstrap/lab.sh"

usage() {
  cat <<USAGE
Usage: ./new-app.sh NAME [OPTION]...

Adds the application NAME to the lab "$LAB_NAME": apps/NAME/ and clusters/$CLUSTER_NAME/NAME.yaml.
From then on a version tag of its project becomes an image, a commit here, and a pod in the namespace "$APP_NAMESPACE".

  --project GROUP/PROJECT  where its source lives in GitLab; ${GITLAB_GROUPS[0]}/NAME otherwise
  --host HOST              where it is served; NAME.$(base_domain) otherwise
  --port PORT              where it listens inside its container; 8080 otherwise
  --health PATH            a page that answers when it is ready, such as /healthz; otherwise an open port is enough
  --memory AMOUNT          the most memory that it may take; 512Mi otherwise
  --help                   this text

For example: ./new-app.sh shop --project ${GITLAB_GROUPS[0]}/shop --port 3000 --health /healthz

To remove an application: git rm -r apps/NAME clusters/$CLUSTER_NAME/NAME.yaml, commit, push. Flux then takes everything of
its release out of the cluster, volumes that the release made included. Its project and images in GitLab stay.

It asks nothing. Exit status: 0 done, 1 refused (nothing was written), 2 wrong call.
USAGE
}

refuse() {
  printf 'new-app.sh: %s\n' "$1" >&2
  exit 1
}

wrong_call() {
  printf 'new-app.sh: %s\nTry ./new-app.sh --help.\n' "$1" >&2
  exit 2
}

# answer QUESTION: what the owner once answered, as .copier-answers.yml has it on one line.
answer() {
  local value
  value=$(sed -n "s/^$1: *//p" "$LAB_DIR/.copier-answers.yml" | head -n 1)
  value=${value#[\'\"]}
  printf '%s' "${value%[\'\"]}"
}

base_domain() { answer base_domain; }

# yaml WORD: WORD as YAML reads it back, as text.
yaml() {
  if [[ $1 =~ ^[a-z/][a-zA-Z0-9./:_-]*$ && ! $1 =~ ^(true|false|null|yes|no|on|off|y|n)$ && $1 != *: ]]; then
    printf '%s' "$1"
  else
    printf '"%s"' "$1"
  fi
}

# parse_arguments ARGUMENT...: sets name, project, host, port, health and memory, the defaults included.
parse_arguments() {
  local option
  while (($#)); do
    option=$1
    case $option in
      --help | -h) usage; exit 0 ;;
      --project | --host | --port | --health | --memory)
        [[ -n ${2-} ]] || wrong_call "$option needs a value"
        printf -v "${option#--}" '%s' "$2"
        shift
        ;;
      --project=* | --host=* | --port=* | --health=* | --memory=*)
        option=${option%%=*}
        [[ -n ${1#*=} ]] || wrong_call "$option needs a value"
        printf -v "${option#--}" '%s' "${1#*=}"
        ;;
      -*) wrong_call "there is no option \"$1\"" ;;
      *)
        [[ -z $name ]] || wrong_call "one application at a time: \"$name\" or \"$1\"?"
        name=$1
        ;;
    esac
    shift
  done
  [[ -n $name ]] || wrong_call 'what is the application called?'
  project=${project:-${GITLAB_GROUPS[0]}/$name}
  host=${host:-$name.$(base_domain)}
}

# check_name: a name for Kubernetes, Helm and Flux that nothing else in the lab has.
check_name() {
  local label='^[a-z]([a-z0-9-]*[a-z0-9])?$'
  [[ $name =~ $label ]] || refuse "\"$name\" cannot name a Kubernetes Service: use small letters, digits and hyphens, a letter first, such as my-shop."
  ((${#name} <= 53)) || refuse "\"$name\" has ${#name} characters; Helm takes 53 at most."
  case $name in
    gitlab | gitlab-runner | runner | infrastructure | automation | flux-system)
      refuse "\"$name\" is a part of the lab itself. Give the application another name."
      ;;
  esac
  if [[ -e $LAB_DIR/apps/$name || -e $LAB_DIR/clusters/$CLUSTER_NAME/$name.yaml ]]; then
    refuse "there is an application \"$name\" already, in apps/$name and clusters/$CLUSTER_NAME/$name.yaml. Nothing was changed.
To begin again, remove both first; ./new-app.sh --help says how."
  fi
}

# check_project: a project of one of the lab's groups, whose path is also an image's name. GitLab takes upper case as lower.
check_project() {
  local group part path=${project,,} found='' image=$REGISTRY_ADDRESS/${project,,}
  [[ $project == */* ]] || refuse "\"$project\" is no project of GitLab's: write group/project, such as ${GITLAB_GROUPS[0]}/$name."
  [[ ! $path =~ (^|/)(/|$) ]] || refuse "\"$project\" has an empty part: write group/project, such as ${GITLAB_GROUPS[0]}/$name."
  while read -r -d / part; do
    [[ $part =~ ^[a-z0-9]+(([._]|__|-+)[a-z0-9]+)*$ ]] \
      || refuse "\"$part\" in \"$project\" cannot stand in an image's name: use letters and digits, with single dots, underscores or hyphens between them."
  done <<<"$path/"
  ((${#image} <= 255)) || refuse "\"$project\" is too long: $REGISTRY_ADDRESS/ and it are ${#image} characters, and an image's name has 255 at most."
  for group in "${GITLAB_GROUPS[@]}"; do
    if [[ $path == "${group,,}"/* ]]; then found=$group; fi
  done
  [[ -n $found ]] || refuse "\"$project\" is in none of the lab's groups (${GITLAB_GROUPS[*]}), so the cluster could not pull its image.
Add its group first: ./update.sh --data groups='[…]', then ./bootstrap.sh --only groups and ./bootstrap.sh --only registry."
}

# check_host: a host that nobody else in the lab answers to.
check_host() {
  local part file
  [[ $host =~ ^([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]*[a-z0-9])?$ && ${#host} -le 253 ]] \
    || refuse "\"$host\" is no host: small letters, digits, hyphens and dots, without scheme, port or slash, such as $name.$(base_domain)."
  [[ ! $host =~ (^|\.)[0-9]+$ ]] || refuse "\"$host\" ends in a number, as addresses do; a certificate and a route want a name, such as $name.$(base_domain)."
  for part in ${host//./ }; do
    ((${#part} <= 63)) || refuse "\"$part\" in \"$host\" has ${#part} characters; DNS takes 63 at most."
  done
  if [[ $host == "$GITLAB_HOST" || $host == "$REGISTRY_HOST" ]]; then refuse "$host is GitLab's own host. Give another with --host."; fi
  for file in "$LAB_DIR"/apps/*/helmrelease.yaml; do
    if grep -qsE "^ *- name: \"?${host//./\\.}\"?$" "$file"; then
      refuse "$host is served by ${file#"$LAB_DIR"/} already. Give another with --host."
    fi
  done
}

check_numbers() {
  if ! [[ $port =~ ^[1-9][0-9]{0,4}$ ]] || ((port > 65535)); then refuse "\"$port\" is no port: give a number from 1 to 65535."; fi
  [[ -z $health || $health =~ ^/[A-Za-z0-9/._~%-]*$ ]] || refuse "\"$health\" is no path: it begins with a slash, such as /healthz."
  [[ $memory =~ ^[1-9][0-9]{0,5}(Mi|Gi)$ ]] || refuse "\"$memory\" is no amount of memory: give one such as 512Mi or 2Gi."
  [[ $scan_interval =~ ^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$ ]] || refuse "scan_interval in .copier-answers.yml is \"$scan_interval\", which is no duration such as 1m."
}

# requested_memory: what is set aside for it, which may not be more than the most that it may take.
requested_memory() {
  if [[ $memory == *Mi ]] && ((${memory%Mi} < 64)); then printf '%s' "$memory"; else printf 64Mi; fi
}

kustomization() {
  cat <<YAML
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: $(yaml "$APP_NAMESPACE")
resources:
  - helmrelease.yaml
YAML
}

flux_kustomization() {
  cat <<YAML
# $name, built by $project. With GitLab down it keeps running. Flux applies its release and does not wait for it here: an
# application that is not ready must hold up nobody else.
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata:
  name: $(yaml "$name")
  namespace: flux-system
spec:
  dependsOn:
    - name: infrastructure
      # Once it was applied at all: what it holds is there. Flux's own check waits for this very commit.
      readyExpr: has(dep.status.lastAppliedRevision)
  interval: 10m
  retryInterval: 20s
  timeout: 2m
  path: ./apps/$name
  prune: true
  sourceRef:
    kind: GitRepository
    name: flux-system
YAML
}

helm_release() {
  cat <<YAML
# $name, built by $project. Flux scans the registry for its image and writes each new version into the line with the tag.
# 0.0.0 stands for none yet: nothing runs before the first image. automation/image-updates.yaml says how to hold it, pin
# it and go back.
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata:
  name: $(yaml "$name")
spec:
  # What somebody changes in the cluster by hand is put back within this time.
  interval: 1m
  timeout: 5m
  releaseName: $(yaml "$name")
  chart:
    spec:
      chart: ./charts/app
      reconcileStrategy: ChartVersion
      sourceRef:
        kind: GitRepository
        name: flux-system
        namespace: flux-system
  # The release is done when its objects are in the cluster. Waiting for them would keep out the image that mends a broken
  # one, and an image policy is not ready before the first image. What runs: kubectl get deployments -A
  install:
    disableWait: true
    strategy:
      name: RetryOnFailure
      retryInterval: 1m
  upgrade:
    disableWait: true
    strategy:
      name: RetryOnFailure
      retryInterval: 1m
  driftDetection:
    mode: enabled
  values:
    image:
      repository: $(yaml "$REGISTRY_ADDRESS/${project,,}")
      tag: 0.0.0 # {"\$imagepolicy": "flux-system:$name:tag"}
      registrySecret: regcred
      imagePolicy: true
    imagePolicy:
      interval: $scan_interval
YAML
  if [[ $PRIVATE_CA == true ]]; then printf '      caSecret: lab-ca\n'; fi
  cat <<YAML
    services:
      - name: http
        servicePort: 80
        targetPort: $port
    ingress:
      enabled: true
      ssl: true
YAML
  if [[ $HTTPS_PORT != 443 ]]; then printf '      httpsPort: %s\n' "$HTTPS_PORT"; fi
  case $TLS_SOURCE in
    cert-manager) printf '      tls:\n        issuer: %s\n' "$(yaml "$CLUSTER_ISSUER")" ;;
    secret) printf '      tls:\n        secretName: %s\n' "$(yaml "$TLS_SECRET_NAME")" ;;
  esac
  cat <<YAML
      hosts:
        - name: $(yaml "$host")
          servicePort: 80
    probes:
      readiness:
YAML
  if [[ -n $health ]]; then
    printf '        httpGet:\n          path: %s\n          port: http\n' "$health"
  else
    printf '        tcpSocket:\n          port: http\n'
  fi
  cat <<YAML
    resources:
      requests:
        cpu: 10m
        memory: $(requested_memory)
      limits:
        memory: $memory
YAML
}

# write_files: all of them or none. What Flux follows comes last, so that it never points at half an application.
write_files() {
  local app=$LAB_DIR/apps/$name cluster=$LAB_DIR/clusters/$CLUSTER_NAME/$name.yaml
  # Where somebody else has just made it, this ends here, and what is theirs stays.
  mkdir -- "$app"
  # shellcheck disable=SC2064 # the paths are known now, and local
  trap "rm -rf -- $(printf '%q %q' "$app" "$cluster")" EXIT
  kustomization >"$app/kustomization.yaml"
  helm_release >"$app/helmrelease.yaml"
  flux_kustomization >"$cluster"
  trap - EXIT
}

say_what_is_next() {
  local pipeline=sample-app/.gitlab-ci.yml url=$GITLAB_URL/$project
  [[ -e $LAB_DIR/$pipeline ]] || pipeline=.gitlab/image.gitlab-ci.yml
  cat <<NEXT
Added apps/$name/ and clusters/$CLUSTER_NAME/$name.yaml. What comes next:

  1. The project $url, if there is none yet, with a Dockerfile whose last stage is the application
     and one of whose stages is called "test", and with a copy of $pipeline.
     Protect its tags (Settings > Repository > Protected tags, *): whoever may make one, deploys.
  2. A name in your DNS that sends $host to Traefik$(tls_note).
  3. Here: git add apps/$name clusters/$CLUSTER_NAME/$name.yaml && git commit -m "Add $name" && git push
  4. There: git tag v0.1.0 && git push origin v0.1.0

Until the first image is there, nothing runs: flux get image repository $name says what Flux finds.
NEXT
}

tls_note() {
  if [[ $TLS_SOURCE == secret ]]; then
    printf ',\n     and a certificate that covers it in the Secret %s of the namespace %s;\n     ./bootstrap.sh --only gitlab brings it to the applications' "$TLS_SECRET_NAME" "$GITLAB_NAMESPACE"
  fi
}

main() {
  local name='' project='' host='' port=8080 health='' memory=512Mi scan_interval
  scan_interval=$(answer scan_interval)
  parse_arguments "$@"
  check_name
  check_project
  check_host
  check_numbers
  write_files
  say_what_is_next
}

main "$@"
