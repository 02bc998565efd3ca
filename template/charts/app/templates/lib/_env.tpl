{{/*
env as Kubernetes takes it, from a list of EnvVar or from a map of names. A map comes out sorted
by name, but a variable behind those that its value names as $(OTHER): Kubernetes puts in only
what stands before. Numbers and booleans become the strings that Kubernetes asks for.
*/}}
{{- define "app.env" -}}
  {{- $env := list -}}
  {{- if kindIs "map" .Values.env -}}
    {{- range $name := include "app.envOrder" .Values.env | fromJsonArray -}}
      {{- $value := get $.Values.env $name -}}
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

{{/* The names of a map of variables in their order, as JSON. Those of a circle come last; the checks refuse it. */}}
{{- define "app.envOrder" -}}
  {{- $env := . -}}
  {{- $order := list -}}
  {{- $left := keys $env | sortAlpha -}}
  {{- range $env -}}
    {{- $rest := list -}}
    {{- range $name := $left -}}
      {{- $waits := false -}}
      {{- range include "app.envReferences" (get $env $name) | fromJsonArray -}}
        {{- if and (ne . $name) (has . $left) }}{{ $waits = true }}{{ end -}}
      {{- end -}}
      {{- if $waits }}{{ $rest = append $rest $name }}{{ else }}{{ $order = append $order $name }}{{ end -}}
    {{- end -}}
    {{- $left = $rest -}}
  {{- end -}}
  {{- concat $order $left | toJson -}}
{{- end -}}

{{/* The names that a value of a map of variables takes in as $(NAME), as JSON; $$ stands for a dollar. */}}
{{- define "app.envReferences" -}}
  {{- $names := list -}}
  {{- $text := kindIs "map" . | ternary (default "" (get (kindIs "map" . | ternary . dict) "value")) . -}}
  {{- range regexFindAll `\$\$|\$\([^()]+\)` (toString $text) -1 -}}
    {{- if ne . "$$" }}{{ $names = append $names (. | trimPrefix "$(" | trimSuffix ")") }}{{ end -}}
  {{- end -}}
  {{- toJson $names -}}
{{- end -}}
