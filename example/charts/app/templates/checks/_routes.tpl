{{- define "app.check.routes" -}}
  {{- $ingress := .Values.ingress | default dict }}
  {{- $gateway := .Values.gateway | default dict }}
  {{- range .Facts.lost }}
    {{- include "app.check.lost" (dict "root" $ "at" .at "entry" .entry) }}
  {{- end }}
  {{- if $ingress.enabled }}
    {{- include "app.check.hosts" (dict "at" "ingress.hosts" "hosts" $ingress.hosts) }}
    {{- include "app.check.tls" . }}
  {{- end }}
  {{- if $gateway.enabled }}
    {{- if $gateway.hosts }}
      {{- include "app.check.hosts" (dict "at" "gateway.hosts" "hosts" $gateway.hosts) }}
    {{- else if or (not $ingress.enabled) (not $ingress.hosts) }}
      {{- include "app.check.hosts" (dict "at" "ingress.hosts" "hosts" $ingress.hosts) }}
    {{- end }}
    {{- if not $gateway.parentRefs }}
      gateway.parentRefs is empty: say which Gateway carries the routes, such as [{name: traefik-gateway, namespace: traefik}].
    {{- end }}
  {{- end }}
  {{- include "app.check.tcpRoutes" . }}
{{- end -}}

{{- define "app.check.tcpRoutes" -}}
  {{- $names := dict }}
  {{- $taken := dict }}
  {{- range $i, $route := .Values.tcpRoutes }}
    {{- if hasKey $names .name }}
      tcpRoutes[{{ $i }}].name is {{ .name | quote }}, and so is tcpRoutes[{{ get $names .name }}].name: each route needs another name.
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
