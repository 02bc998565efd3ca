{{/* The port that helm test calls, into .Facts.tested: the named one, one called http, or the first; empty without any. */}}
{{- define "app.facts.tested" -}}
  {{- $wanted := (.Values.tests | default dict).service -}}
  {{- $tested := dict -}}
  {{- range .Facts.ports -}}
    {{- if and (eq .protocol "TCP") (or (not $wanted) (eq .service (toString $wanted))) -}}
      {{- if or (not $tested) (and (eq .name "http") (ne $tested.name "http")) }}{{ $tested = . }}{{ end -}}
    {{- end -}}
  {{- end -}}
  {{- with $tested }}{{ $tested = merge (dict "scheme" (include "app.testScheme" (dict "root" $ "port" .))) . }}{{ end -}}
  {{- $_ := set .Facts "tested" $tested -}}
{{- end -}}

{{/* How helm test speaks to a port: http, or telnet, which is curl's word for a connection and no more. Takes root and port. */}}
{{- define "app.testScheme" -}}
  {{- $root := .root -}}
  {{- $port := .port -}}
  {{- $tests := $root.Values.tests | default dict -}}
  {{- $http := or (hasPrefix "http" (toString $port.name)) (contains "http" (toString $port.appProtocol)) (ne (default "/" $tests.path) "/") -}}
  {{- range concat $root.Facts.hosts $root.Facts.gatewayHosts -}}
    {{- range .paths -}}
      {{- if and (eq .service $port.object) (eq (int .port) (int $port.port)) }}{{ $http = true }}{{ end -}}
    {{- end -}}
  {{- end -}}
  {{- eq (default ($http | ternary "http" "tcp") $tests.protocol) "http" | ternary "http" "telnet" -}}
{{- end -}}
