{{/* Helm writes nothing, and says nothing, if a text holds a character that YAML cannot carry. */}}
{{- define "app.check.characters" -}}
  {{- $unfit := "[\\x{7f}-\\x{9f}\\x{fffe}\\x{ffff}]" }}
  {{- if regexMatch $unfit (toJson .Values) }}
    {{- range $key, $value := .Values }}
      {{- with regexFind $unfit (toJson $value) }}
        {{ $key }}: a text in it holds the control character {{ printf "%+q" . }}, which YAML cannot carry. Remove it, or put the file into configMaps.<name>.binaryData.
      {{- end }}
    {{- end }}
  {{- end }}
{{- end -}}

{{/* Labels and annotations that the chart sets, and by which Kubernetes and Helm know what is whose. */}}
{{- define "app.check.labels" -}}
  {{- include "app.check.ownLabels" (dict "at" "labels" "labels" .Values.labels) }}
  {{- include "app.check.ownLabels" (dict "at" "podLabels" "labels" .Values.podLabels) }}
  {{- range $i, $service := .Values.services }}
    {{- include "app.check.ownLabels" (dict "at" (printf "services[%d].labels" $i) "labels" .labels) }}
  {{- end }}
  {{- range $name, $config := .Values.configMaps }}
    {{- with $config }}{{ include "app.check.ownLabels" (dict "at" (printf "configMaps.%s.labels" $name) "labels" .labels) }}{{ end }}
  {{- end }}
  {{- range .Facts.volumes }}
    {{- if .claim }}{{ include "app.check.ownLabels" (dict "at" (printf "%s.claim.labels" .at) "labels" .claim.labels) }}{{ end }}
  {{- end }}
  {{- if hasKey (.Values.podAnnotations | default dict) "checksum/config" }}
    podAnnotations: checksum/config is the chart's own, which restarts the pods when configMaps change. Remove it.
  {{- end }}
{{- end -}}

{{/* Takes at and labels. */}}
{{- define "app.check.ownLabels" -}}
  {{- $at := .at }}
  {{- $labels := .labels | default dict }}
  {{- range list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/managed-by" "helm.sh/chart" }}
    {{- if hasKey $labels . }}
      {{ $at }}: the label {{ . }} is the chart's own. Remove it; nameOverride changes the application's name.
    {{- end }}
  {{- end }}
{{- end -}}
