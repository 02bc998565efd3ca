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
