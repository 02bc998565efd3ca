{{/* Why a log-in could be gone around, or cannot work. */}}
{{- define "app.check.signIn" -}}
  {{- if include "app.anySignsIn" . }}
    {{- $ingress := .Values.ingress }}
    {{- $from := (.Values.networkPolicy | default dict).from | default dict }}
    {{- if not .Facts.tls.traefik }}
      ingress.signIn.enabled is true, which only Traefik knows, but ingress.className is {{ $ingress.className | quote }}. Use Traefik's class, or a log-in of that controller's.
    {{- end }}
    {{- if not .Facts.tls.ssl }}
      ingress.signIn.enabled is true, and ingress.ssl is false: a log-in needs https. Set ingress.ssl: true.
    {{- end }}
    {{- if hasKey ($ingress.annotations | default dict) "traefik.ingress.kubernetes.io/router.middlewares" }}
      ingress.annotations names middlewares, which would take the place of the log-in. Name them in ingress.middlewares.
    {{- end }}
    {{- if (.Values.gateway | default dict).enabled }}
      gateway.enabled is true, and its routes ask for no log-in: ingress.signIn could be gone around. Remove one of them.
    {{- end }}
    {{- if not (.Values.networkPolicy | default dict).enabled }}
      ingress.signIn.enabled is true, and networkPolicy.enabled is not: every pod of the cluster could call the application without a log-in. Set networkPolicy.enabled: true.
    {{- else if $from.everyone }}
      networkPolicy.from.everyone is true, so that everyone in the cluster gets around ingress.signIn. Name who may: networkPolicy.from.pods.
    {{- end }}
    {{- range .Facts.hosts }}
      {{- if and (has true .guarded) (has false .guarded) }}
        ingress.hosts: the entries of {{ .name }} do not agree on signIn. A host has a log-in or none: write signIn: false at each of them, or at none.
      {{- end }}
      {{- if include "app.signsIn" (dict "root" $ "host" .) }}
        {{- include "app.check.outside" (dict "root" $ "host" .) }}
      {{- end }}
    {{- end }}
  {{- end }}
{{- end -}}

{{/* The Services of a host that lead around Traefik. Takes root and host. */}}
{{- define "app.check.outside" -}}
  {{- $root := .root }}
  {{- $host := .host }}
  {{- $objects := dict }}
  {{- range $host.paths }}{{ $_ := set $objects .service true }}{{ end }}
  {{- range $i, $service := $root.Values.services }}
    {{- $open := or (has (default "ClusterIP" $service.type) (list "LoadBalancer" "NodePort")) $service.externalIPs }}
    {{- range $root.Facts.ports }}
      {{- if and $open (eq .service $service.name) (hasKey $objects .object) }}
        services[{{ $i }}].type opens {{ $service.name }} to the network, around the log-in of {{ $host.name }}. Let it be ClusterIP, or set signIn: false for that host.
      {{- end }}
    {{- end }}
  {{- end }}
{{- end -}}
