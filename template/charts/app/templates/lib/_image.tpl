{{/* What the kubelet pulls: repository:tag, repository@digest, or both. */}}
{{- define "app.image" -}}
  {{- $image := .Values.image | default dict -}}
  {{- $image.repository -}}
  {{- with include "app.tag" . }}:{{ . }}{{ end -}}
  {{- with $image.digest }}@{{ . }}{{ end -}}
{{- end -}}

{{- define "app.tag" -}}
  {{- $tag := (.Values.image | default dict).tag -}}
  {{- if not (kindIs "invalid" $tag) }}{{ include "app.text" $tag }}{{ end -}}
{{- end -}}
