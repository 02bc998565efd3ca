{{/* What selects the pods. Kubernetes never lets it change, so nothing that moves may stand here. */}}
{{- define "app.selector" -}}
app.kubernetes.io/name: {{ .Facts.name | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* A scalar as text: 1000000 stays 1000000, where Go would print 1e+06. */}}
{{- define "app.text" -}}
  {{- if kindIs "string" . }}{{ . }}{{ else }}{{ toJson . }}{{ end -}}
{{- end -}}

{{/* Scalars by name, as text; entries that were set to null are left out. */}}
{{- define "app.strings" -}}
  {{- $lines := list -}}
  {{- range $key, $value := . -}}
    {{- if not (kindIs "invalid" $value) -}}
      {{- $lines = append $lines (printf "%s: %s" (quote $key) (include "app.text" $value | quote)) -}}
    {{- end -}}
  {{- end -}}
  {{- join "\n" $lines -}}
{{- end -}}

{{/*
The metadata of an object. Takes a dict: root; name; and, where the object has its own,
namespace, labels, annotations (maps).

The chart's version stands in a label here and never on a pod: a pod that carried it would
restart at every new version of the chart.
*/}}
{{- define "app.metadata" -}}
  {{- $root := .root -}}
name: {{ .name | quote }}
namespace: {{ .namespace | default $root.Release.Namespace | quote }}
labels:
  {{- include "app.selector" $root | nindent 2 }}
  app.kubernetes.io/managed-by: {{ $root.Release.Service | quote }}
  helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimAll "-_." | quote }}
  {{- with merge dict (.labels | default dict) ($root.Values.labels | default dict) | include "app.strings" }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- with merge dict (.annotations | default dict) ($root.Values.annotations | default dict) | include "app.strings" }}
annotations:
  {{- . | nindent 2 }}
  {{- end }}
{{- end -}}
