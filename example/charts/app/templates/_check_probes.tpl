{{/* (list path probe portNames kind): a probe has one way of asking, and a port that is there. */}}
{{- define "app.check.probe" -}}
{{- $at := index . 0 }}
{{- $probe := index . 1 }}
{{- $ports := index . 2 }}
{{- include "app.check.handler" (list $at (pick $probe "exec" "httpGet" "tcpSocket" "grpc") "exec, httpGet, tcpSocket, grpc") }}
{{- range $key := list "httpGet" "tcpSocket" }}
{{- $port := (get $probe $key | default dict).port }}
{{- if and (kindIs "string" $port) (not (has $port $ports)) }}
{{ $at }}.{{ $key }}.port is {{ $port | quote }}, and the container has no port of that name ({{ join ", " $ports | default "there are none" }}). Give the number instead.
{{- end }}
{{- end }}
{{- if and (eq (index . 3) "readiness") (hasKey $probe "terminationGracePeriodSeconds") }}
{{ $at }}.terminationGracePeriodSeconds is set, but a readiness probe ends nothing. Remove it.
{{- end }}
{{- if and (ne (index . 3) "readiness") (ne (int (default 1 $probe.successThreshold)) 1) }}
{{ $at }}.successThreshold is {{ $probe.successThreshold }}: Kubernetes takes nothing but 1 here. Remove it.
{{- end }}
{{- end -}}

{{/* (list path lifecycle) */}}
{{- define "app.check.lifecycle" -}}
{{- $at := index . 0 }}
{{- $lifecycle := index . 1 | default dict }}
{{- range $key := list "postStart" "preStop" }}
{{- if hasKey $lifecycle $key }}
{{- include "app.check.handler" (list (printf "%s.%s" $at $key) (get $lifecycle $key) "exec, httpGet, sleep, tcpSocket") }}
{{- end }}
{{- end }}
{{- end -}}

{{/* (list path handlers choices): exactly one of the choices. */}}
{{- define "app.check.handler" -}}
{{- $found := index . 1 | keys | sortAlpha }}
{{- if ne (len $found) 1 }}
{{ index . 0 }} has {{ join " and " $found | default "no way of asking" }}: give one of {{ index . 2 }}.
{{- end }}
{{- end -}}
