{{/* The spec of an Ingress of one host, without its TLS. Takes (list root host). */}}
{{- define "app.ingressSpec" -}}
{{- with (index . 0).Values.ingress.className -}}
ingressClassName: {{ . | quote }}
{{ end -}}
{{- $host := index . 1 -}}
rules:
  - host: {{ $host.name | quote }}
    http:
      paths:
        {{- range $host.paths }}
        - path: {{ .path | quote }}
          pathType: {{ .pathType }}
          backend:
            service:
              name: {{ .service | quote }}
              port:
                number: {{ .port }}
        {{- end }}
{{- end -}}

{{/* The annotations by which Traefik knows how to serve an Ingress. */}}
{{- define "app.traefikAnnotations" -}}
{{- $router := "traefik.ingress.kubernetes.io/router" -}}
{{- if .Facts.tls.ssl -}}
{{ $router }}.entrypoints: {{ include "app.entryPointHttps" . | quote }}
{{ $router }}.tls: "true"
{{- with (.Values.ingress.tls | default dict).certResolver }}
{{ $router }}.tls.certresolver: {{ . | quote }}
{{- end }}
{{- else -}}
{{ $router }}.entrypoints: {{ include "app.entryPointHttp" . | quote }}
{{- end }}
{{- with include "app.middlewareNames" . }}
{{ $router }}.middlewares: {{ . | quote }}
{{- end }}
{{- end -}}

{{/*
Traefik asks the longest rule first, and that of a wildcard is longer than that of a host it covers. One annotation is for
all the paths of an Ingress, so several stay as they are. Takes a host.
*/}}
{{- define "app.priorityAnnotation" -}}
{{- if and (hasPrefix "*." .name) (eq (len .paths) 1) -}}
traefik.ingress.kubernetes.io/router.priority: "1"
{{- end -}}
{{- end -}}

{{/* What Traefik matches for one path of a host. Takes (list hostName path). */}}
{{- define "app.match" -}}
{{- $name := index . 0 -}}
{{- $path := (index . 1).path -}}
{{- $type := (index . 1).pathType -}}
{{- $segment := trimSuffix "/" $path -}}
{{- if hasPrefix "*." $name -}}
HostRegexp(`^[^.]+\.{{ trimPrefix "*." $name | replace "." "\\." }}$`)
{{- else -}}
Host(`{{ $name }}`)
{{- end -}}
{{- if eq $type "Exact" }} && Path(`{{ $path }}`)
{{- else if and $segment (eq $type "Prefix") }} && (Path(`{{ $segment }}`) || PathPrefix(`{{ $segment }}/`))
{{- else if $segment }} && PathPrefix(`{{ $path }}`)
{{- end }}
{{- end -}}

{{/* The routes of an IngressRoute of one host. Takes (list root host middlewares). */}}
{{- define "app.ingressRoutes" -}}
{{- $host := index . 1 -}}
{{- $middlewares := index . 2 -}}
{{- range $host.paths }}
- kind: Rule
  match: {{ include "app.match" (list $host.name .) | quote }}
  {{- if hasPrefix "*." $host.name }}
  # Traefik asks the longest rule first, and that of a wildcard is longer than that of a host it covers.
  priority: {{ len .path }}
  {{- end }}
  {{- with $middlewares }}
  middlewares:
    {{- . | replace "\n" "\n    " }}
  {{- end }}
  services:
    - name: {{ .service | quote }}
      port: {{ .port }}
{{- end }}
{{- end -}}
