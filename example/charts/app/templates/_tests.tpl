{{/* The port that helm test calls, into .Facts.tested: the named one, one called http, or the first; empty without any. */}}
{{- define "app.facts.tested" -}}
{{- $wanted := (.Values.tests | default dict).service -}}
{{- $tested := dict -}}
{{- range .Facts.ports -}}
{{- if and (eq .protocol "TCP") (or (not $wanted) (eq .service (toString $wanted))) -}}
{{- if or (not $tested) (and (eq .name "http") (ne $tested.name "http")) }}{{ $tested = . }}{{ end -}}
{{- end -}}
{{- end -}}
{{- $_ := set .Facts "tested" $tested -}}
{{- end -}}
