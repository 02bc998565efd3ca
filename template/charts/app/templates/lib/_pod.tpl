{{/* The pod template of the Deployment or StatefulSet. Nothing here may name the chart's version. */}}
{{- define "app.podTemplate" -}}
metadata:
  labels:
    {{- include "app.selector" . | nindent 4 }}
    {{- with include "app.strings" .Values.podLabels }}
    {{- . | nindent 4 }}
    {{- end }}
  {{- with printf "%s\n%s" (include "app.configChecksum" .) (include "app.strings" .Values.podAnnotations) | trim }}
  annotations:
    {{- . | nindent 4 }}
  {{- end }}
spec:
  {{- include "app.podSpec" . | nindent 2 }}
{{- end -}}

{{/*
Kubernetes restarts no pod when a ConfigMap changes; this annotation, which changes with the
content and with nothing else, makes it.
*/}}
{{- define "app.configChecksum" -}}
  {{- $content := dict -}}
  {{- range $name, $config := .Values.configMaps -}}
    {{- with $config }}{{ $_ := set $content $name (pick . "data" "binaryData") }}{{ end -}}
  {{- end -}}
  {{- with $content -}}
checksum/config: {{ toJson . | sha256sum }}
  {{- end -}}
{{- end -}}

{{- define "app.podSpec" -}}
  {{- with (.Values.image | default dict).registrySecret -}}
imagePullSecrets:
  - name: {{ . | quote }}
{{ end -}}
  {{- with include "app.serviceAccountName" . -}}
serviceAccountName: {{ . | quote }}
{{ end -}}
automountServiceAccountToken: {{ (.Values.serviceAccount | default dict).automount | default false }}
# The addresses of a namespace's Services have no place in an application's environment.
enableServiceLinks: false
  {{- if not (kindIs "invalid" .Values.terminationGracePeriodSeconds) }}
terminationGracePeriodSeconds: {{ int64 .Values.terminationGracePeriodSeconds }}
  {{- end }}
  {{- with include "app.given" (dict "values" .Values "keys" (list "priorityClassName" "runtimeClassName" "hostNetwork" "shareProcessNamespace")) }}
{{ . }}
  {{- end }}
  {{- /* A pod on its node's network asks the node's own servers, which know no Service, unless it is told so. */}}
  {{- with .Values.dnsPolicy | default (eq (toString .Values.hostNetwork) "true" | ternary "ClusterFirstWithHostNet" "") }}
dnsPolicy: {{ . }}
  {{- end }}
  {{- with include "app.given" (dict "values" .Values "keys" (list "dnsConfig" "hostAliases" "tolerations" "affinity" "topologySpreadConstraints")) }}
{{ . }}
  {{- end }}
  {{- with include "app.strings" .Values.nodeSelector }}
nodeSelector:
  {{- . | nindent 2 }}
  {{- end }}
  {{- with .Values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- with .Values.initContainers }}
initContainers:
  {{- toYaml . | nindent 2 }}
  {{- end }}
containers:
  {{- include "app.container" . | nindent 2 }}
  {{- with .Values.sidecars }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- /* A StatefulSet makes the claims of its pods itself. */}}
  {{- $volumes := list }}
  {{- range .Facts.volumes }}
    {{- if not (and $.Facts.stateful .claim) }}{{ $volumes = append $volumes . }}{{ end }}
  {{- end }}
  {{- with $volumes }}
volumes:
    {{- range . }}
  - name: {{ .name | quote }}
    {{- toYaml .source | nindent 4 }}
    {{- end }}
  {{- end }}
{{- end -}}

{{/* Those of the values that say something, as the owner wrote them. Takes values, and keys (a list). */}}
{{- define "app.given" -}}
  {{- $lines := list -}}
  {{- range $key := .keys -}}
    {{- with get $.values $key -}}
      {{- $lines = append $lines (toYaml (dict $key .)) -}}
    {{- end -}}
  {{- end -}}
  {{- join "\n" $lines -}}
{{- end -}}
