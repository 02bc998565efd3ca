{{/*
env as Kubernetes takes it, from a list of EnvVar or from a map of names. A map comes out
sorted by name; numbers and booleans become the strings that Kubernetes asks for.
*/}}
{{- define "app.env" -}}
{{- $env := list -}}
{{- if kindIs "map" .Values.env -}}
{{- range $name, $value := .Values.env -}}
{{- if kindIs "map" $value -}}
{{- $env = append $env (merge (dict "name" $name) $value) -}}
{{- else if not (kindIs "invalid" $value) -}}
{{- $env = append $env (dict "name" $name "value" (include "app.text" $value)) -}}
{{- end -}}
{{- end -}}
{{- else -}}
{{- range .Values.env -}}
{{- if or (kindIs "invalid" .value) -}}
{{- $env = append $env (omit . "value") -}}
{{- else -}}
{{- $env = append $env (dict "name" .name "value" (include "app.text" .value)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if $env }}{{ toYaml $env }}{{ end -}}
{{- end -}}
