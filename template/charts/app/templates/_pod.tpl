{{/* The pod template of the Deployment or StatefulSet. Nothing here may name the chart's version. */}}
{{- define "app.podTemplate" -}}
metadata:
  labels:
    {{- include "app.selector" . | nindent 4 }}
    {{- include "app.strings" .Values.podLabels | replace "\n" "\n    " }}
  {{- with printf "%s%s" (include "app.configChecksum" .) (include "app.strings" .Values.podAnnotations) }}
  annotations:
    {{- . | replace "\n" "\n    " }}
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
{{- with $content }}
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
{{- include "app.given" (list .Values "priorityClassName" "runtimeClassName" "hostNetwork" "shareProcessNamespace") }}
{{- /* A pod on its node's network asks the node's own servers, which know no Service, unless it is told so. */}}
{{- with .Values.dnsPolicy | default (eq (toString .Values.hostNetwork) "true" | ternary "ClusterFirstWithHostNet" "") }}
dnsPolicy: {{ . }}
{{- end }}
{{- include "app.given" (list .Values "dnsConfig" "hostAliases" "tolerations" "affinity" "topologySpreadConstraints") }}
{{- with include "app.strings" .Values.nodeSelector }}
nodeSelector:
  {{- . | replace "\n" "\n  " }}
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
{{- with include "app.podVolumes" . }}
volumes:
  {{- . | replace "\n" "\n  " }}
{{- end }}
{{- end -}}

{{/* (list values names...): those of the values that say something, as they stand. */}}
{{- define "app.given" -}}
{{- $values := first . -}}
{{- range rest . }}
{{- $value := get $values . }}
{{- if $value }}
{{ toYaml (dict . $value) }}
{{- end }}
{{- end }}
{{- end -}}
