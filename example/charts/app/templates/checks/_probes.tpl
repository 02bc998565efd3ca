{{/* A probe has one handler, and a port that exists. Takes at, probe, portNames (a list) and kind. */}}
{{- define "app.check.probe" -}}
  {{- $at := .at }}
  {{- $probe := .probe }}
  {{- $ports := .portNames }}
  {{- include "app.check.handler" (dict "at" $at "handlers" (pick $probe "exec" "httpGet" "tcpSocket" "grpc") "choices" "exec, httpGet, tcpSocket, grpc") }}
  {{- range $key := list "httpGet" "tcpSocket" }}
    {{- $port := (get $probe $key | default dict).port }}
    {{- if and (kindIs "string" $port) (not (has $port $ports)) }}
      {{ $at }}.{{ $key }}.port is {{ $port | quote }}, and the container has no port of that name ({{ join ", " $ports | default "there are none" }}). Give the number instead.
    {{- end }}
  {{- end }}
  {{- if and (eq .kind "readiness") (hasKey $probe "terminationGracePeriodSeconds") }}
    {{ $at }}.terminationGracePeriodSeconds is set, but a readiness probe ends nothing. Remove it.
  {{- end }}
  {{- if and (ne .kind "readiness") (ne (int (default 1 $probe.successThreshold)) 1) }}
    {{ $at }}.successThreshold is {{ $probe.successThreshold }}: Kubernetes takes nothing but 1 here. Remove it.
  {{- end }}
{{- end -}}

{{/* Takes at and lifecycle. */}}
{{- define "app.check.lifecycle" -}}
  {{- $at := .at }}
  {{- $lifecycle := .lifecycle | default dict }}
  {{- range $key := list "postStart" "preStop" }}
    {{- if hasKey $lifecycle $key }}
      {{- include "app.check.handler" (dict "at" (printf "%s.%s" $at $key) "handlers" (get $lifecycle $key) "choices" "exec, httpGet, sleep, tcpSocket") }}
    {{- end }}
  {{- end }}
{{- end -}}

{{/* Exactly one of the choices. Takes at, handlers and choices (a text). */}}
{{- define "app.check.handler" -}}
  {{- $found := .handlers | keys | sortAlpha }}
  {{- if ne (len $found) 1 }}
    {{ .at }} has {{ join " and " $found | default "no way of asking" }}: give one of {{ .choices }}.
  {{- end }}
{{- end -}}
