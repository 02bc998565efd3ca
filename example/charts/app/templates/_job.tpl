{{/*
A release that checks another one (check.of) has its image, environment and files, and nothing that serves, stores or scans.
The values of the application are the same for both; this takes out of them what a check has no use for.
*/}}
{{- define "app.onlyTheCheck" -}}
{{- range list "services" "tcpRoutes" "extraObjects" "initContainers" "sidecars" "topologySpreadConstraints" -}}
{{- $_ := set $.Values . list -}}
{{- end -}}
{{- range list "probes" "lifecycle" "strategy" -}}
{{- $_ := set $.Values . dict -}}
{{- end -}}
{{- range list "ingress" "gateway" "volumes" "tests" -}}
{{- $part := set (get $.Values . | default dict | deepCopy) "enabled" false -}}
{{- $_ := set $.Values . (set $part "hosts" list) -}}
{{- end -}}
{{- /* With the names of the application its objects would be the application's. */ -}}
{{- $_ := set .Values "fullnameOverride" "" -}}
{{- $_ := set .Values "nameOverride" "" -}}
{{- $_ := set .Values "kind" "Deployment" -}}
{{- $_ := set .Values "hostNetwork" false -}}
{{- $_ := set .Values "image" (set (.Values.image | default dict | deepCopy) "imagePolicy" false) -}}
{{- $_ := set .Values "affinity" (include "app.besideTheChecked" . | fromYaml) -}}
{{- end -}}

{{/* The node that the application's pod is on is the one that will need the image. */}}
{{- define "app.besideTheChecked" -}}
{{- $affinity := deepCopy (.Values.affinity | default dict) -}}
{{- $pods := $affinity.podAffinity | default dict -}}
{{- $selector := dict "matchLabels" (dict "app.kubernetes.io/instance" .Values.check.of) -}}
{{- $term := dict "topologyKey" "kubernetes.io/hostname" "labelSelector" $selector -}}
{{- $preferred := append ($pods.preferredDuringSchedulingIgnoredDuringExecution | default list) (dict "weight" 100 "podAffinityTerm" $term) -}}
{{- $_ := set $pods "preferredDuringSchedulingIgnoredDuringExecution" $preferred -}}
{{- $_ := set $affinity "podAffinity" $pods -}}
{{- toYaml $affinity -}}
{{- end -}}

{{/* The pod of the check: the application's, behind a container that asks the registry for the image. */}}
{{- define "app.checkPod" -}}
{{- $pod := include "app.podTemplate" . | fromYaml -}}
{{- $spec := $pod.spec -}}
{{- $_ := set $spec "restartPolicy" "Never" -}}
{{- $_ := set $spec "initContainers" (list (include "app.askForImage" . | fromYaml)) -}}
{{- $container := first $spec.containers -}}
{{- $_ := set $container "name" "check" -}}
{{- /* What it said last is in the pod's status, beside its log. */ -}}
{{- $_ := set $container "terminationMessagePolicy" "FallbackToLogsOnError" -}}
{{- toYaml $pod -}}
{{- end -}}

{{/*
A kubelet tries for ever to pull an image that does not exist. This container ends at once where the registry says so;
whatever else the registry says, such as that it wants a log-in, is left to the kubelet.
https://distribution.github.io/distribution/spec/api/#existing-manifests
*/}}
{{- define "app.askForImage" -}}
{{- $image := .Values.image -}}
{{- $parts := splitList "/" $image.repository -}}
{{- $host := first $parts -}}
{{- $path := rest $parts | join "/" -}}
{{- if not (and (gt (len $parts) 1) (or (contains "." $host) (contains ":" $host) (eq $host "localhost"))) -}}
{{- $host = "docker.io" -}}
{{- $path = $image.repository -}}
{{- end -}}
{{- if eq $host "docker.io" -}}
{{- $host = "registry-1.docker.io" -}}
{{- if not (contains "/" $path) }}{{ $path = printf "library/%s" $path }}{{ end -}}
{{- end -}}
{{- $caller := (.Values.tests | default dict).image -}}
name: image
image: {{ printf "%s:%s" $caller.repository (include "app.text" $caller.tag) | quote }}
imagePullPolicy: {{ $caller.pullPolicy | default "IfNotPresent" }}
terminationMessagePolicy: FallbackToLogsOnError
env:
  - name: IMAGE
    value: {{ include "app.image" . | quote }}
  - name: URL
    value: {{ printf "https://%s/v2/%s/manifests/%s" $host $path ($image.digest | default (include "app.tag" .)) | quote }}
command:
  - sh
  - -c
  - |
    ask() {
      curl --head --silent --max-time 20 --config - --header 'Accept: application/vnd.oci.image.index.v1+json' \
        --header 'Accept: application/vnd.oci.image.manifest.v1+json' \
        --header 'Accept: application/vnd.docker.distribution.manifest.list.v2+json' \
        --header 'Accept: application/vnd.docker.distribution.manifest.v2+json' "$URL" | tr -d '\r'
    }
    part() { printf '%s\n' "$answer" | sed -n "s/^[Ww][Ww][Ww]-[Aa]uthenticate: *Bearer .*$1=\"\([^\"]*\)\".*/\1/p" | head -n 1; }
    status() { printf '%s\n' "$answer" | sed -n 's/^HTTP[^ ]* \([0-9][0-9]*\).*/\1/p' | tail -n 1; }
    answer=$(ask < /dev/null)
    if [ "$(status)" = 401 ] && [ -n "$(part realm)" ]; then
      token=$(curl --silent --max-time 20 --get --data-urlencode "service=$(part service)" --data-urlencode "scope=$(part scope)" "$(part realm)" |
        sed -n 's/.*"\(access_\)\{0,1\}token" *: *"\([^"]*\)".*/\2/p' | head -n 1)
      if [ -n "$token" ]; then
        answer=$(printf 'header = "Authorization: Bearer %s"\n' "$token" | ask)
      fi
    fi
    if [ "$(status)" = 404 ]; then
      echo "The image $IMAGE does not exist: its registry answers 404." >&2
      exit 1
    fi
    echo "The registry answers $(status)."
resources:
  requests: {cpu: 10m, memory: 16Mi}
  limits: {memory: 64Mi}
securityContext:
  runAsNonRoot: true
  runAsUser: 100
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
  seccompProfile: {type: RuntimeDefault}
{{- end -}}
