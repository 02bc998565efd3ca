{{- define "app.check.routes" -}}
{{- $ingress := .Values.ingress | default dict }}
{{- $gateway := .Values.gateway | default dict }}
{{- range .Facts.lost }}
{{- include "app.check.lost" (list $ .at .entry) }}
{{- end }}
{{- if $ingress.enabled }}
{{- include "app.check.hosts" (list "ingress.hosts" $ingress.hosts) }}
{{- include "app.check.tls" . }}
{{- end }}
{{- if $gateway.enabled }}
{{- if $gateway.hosts }}
{{- include "app.check.hosts" (list "gateway.hosts" $gateway.hosts) }}
{{- else if or (not $ingress.enabled) (not $ingress.hosts) }}
{{- include "app.check.hosts" (list "ingress.hosts" $ingress.hosts) }}
{{- end }}
{{- if not $gateway.parentRefs }}
gateway.parentRefs is empty: say which Gateway carries the routes, such as [{name: traefik-gateway, namespace: traefik}].
{{- end }}
{{- end }}
{{- include "app.check.tcpRoutes" . }}
{{- end -}}

{{/* (list path hosts) */}}
{{- define "app.check.hosts" -}}
{{- $at := index . 0 }}
{{- $hosts := index . 1 }}
{{- if not $hosts }}
{{ $at }} is empty, so nothing would be reachable: add a host such as {name: demo.lab.example.com, servicePort: 80}.
{{- end }}
{{- $seen := dict }}
{{- range $i, $host := $hosts }}
{{- $address := printf "%s%s" .name (.path | default "/") }}
{{- $key := printf "%s %s" $address (.pathType | default "Prefix") }}
{{- if hasKey $seen $key }}
{{ $at }}[{{ $i }}]: {{ $address }} is {{ $at }}[{{ get $seen $key }}] too: one address leads to one Service. Remove one of them, or give it another path.
{{- end }}
{{- $_ := set $seen $key $i }}
{{- if regexMatch "/\\.\\.?(/|$)" $address }}
{{ $at }}[{{ $i }}].path is {{ .path | quote }}: Kubernetes takes no path with . or .. as a part. Write it out.
{{- end }}
{{- if regexMatch "[^.]{64}" .name }}
{{ $at }}[{{ $i }}].name is {{ .name | quote }}: no part of a host's name has more than 63 letters. Shorten it.
{{- end }}
{{- end }}
{{- end -}}

{{/* (list root path entry): why an entry leads nowhere. */}}
{{- define "app.check.lost" -}}
{{- $at := index . 1 }}
{{- $entry := index . 2 }}
{{- $ports := list }}
{{- $named := list }}
{{- range (index . 0).Facts.ports }}
{{- $text := printf "%s %d/%s" .service .port .protocol }}
{{- $ports = append $ports $text }}
{{- if eq .service (toString $entry.service) }}{{ $named = append $named $text }}{{ end }}
{{- end }}
{{- $have := join ", " $ports | default "services is empty" }}
{{- if and $entry.service (not $named) }}
{{ $at }}.service of {{ $entry.name }} is {{ $entry.service | quote }}, and services has none of that name ({{ $have }}). Correct it, or remove it and let servicePort find the Service.
{{- else if and $entry.service $entry.servicePort }}
{{ $at }}.servicePort of {{ $entry.name }} is {{ $entry.servicePort }}, and the Service {{ $entry.service | quote }} has no such TCP port ({{ join ", " $named }}). Correct it, or add the port.
{{- else if $entry.service }}
{{ $at }}.service of {{ $entry.name }} is {{ $entry.service | quote }}, which has no TCP port ({{ join ", " $named }}). Name another Service.
{{- else if $entry.servicePort }}
{{ $at }}.servicePort of {{ $entry.name }} is {{ $entry.servicePort }}, and no entry of services has that TCP port ({{ $have }}). Correct it, or add {name: port-{{ $entry.servicePort }}, servicePort: {{ $entry.servicePort }}} to services.
{{- else }}
{{ $at }}.servicePort of {{ $entry.name }} is missing, and services has no single TCP port that could be meant ({{ $have }}). Say which one.
{{- end }}
{{- end -}}

{{- define "app.check.tcpRoutes" -}}
{{- $names := dict }}
{{- $taken := dict }}
{{- range $i, $route := .Values.tcpRoutes }}
{{- if hasKey $names .name }}
tcpRoutes[{{ $i }}].name is {{ .name | quote }}, and so is tcpRoutes[{{ get $names .name }}].name: each route needs a name of its own.
{{- end }}
{{- $_ := set $names .name $i }}
{{- $key := printf "%s %s" .entryPoint (.host | default "*") }}
{{- if hasKey $taken $key }}
tcpRoutes[{{ $i }}].entryPoint is {{ .entryPoint | quote }}, and tcpRoutes[{{ get $taken $key }}] takes everything that arrives there. Give it another entry point.
{{- end }}
{{- $_ := set $taken $key $i }}
{{- if and .host (ne .host "*") (not .passthrough) }}
tcpRoutes[{{ $i }}].host is {{ .host | quote }}, but only TLS says which host is meant: set tcpRoutes[{{ $i }}].passthrough: true, or remove host.
{{- end }}
{{- end }}
{{- end -}}

{{- define "app.check.tls" -}}
{{- $tls := .Values.ingress.tls | default dict }}
{{- $set := list }}
{{- range list "secretName" "issuer" "certResolver" }}
{{- if get $tls . }}{{ $set = append $set (printf "ingress.tls.%s" .) }}{{ end }}
{{- end }}
{{- if gt (len $set) 1 }}
{{ join " and " $set }} are set: a certificate has one source. Keep one, and empty the others.
{{- end }}
{{- if and $tls.certResolver (not .Facts.tls.traefik) }}
ingress.tls.certResolver is {{ $tls.certResolver | quote }}, which only Traefik knows, but ingress.className is {{ .Values.ingress.className | quote }}. Use ingress.tls.issuer or ingress.tls.secretName.
{{- end }}
{{- end -}}
