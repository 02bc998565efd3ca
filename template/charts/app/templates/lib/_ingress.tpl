{{/* The spec of an Ingress of one host, without its TLS. Takes root and host. */}}
{{- define "app.ingressSpec" -}}
  {{- with .root.Values.ingress.className -}}
ingressClassName: {{ . | quote }}
{{ end -}}
  {{- $host := .host -}}
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

{{/* What Traefik matches for one path of a host. Takes host (its name) and path (an entry of its paths). */}}
{{- define "app.match" -}}
  {{- $name := .host -}}
  {{- $path := .path.path -}}
  {{- $type := .path.pathType -}}
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

{{/* The routes of an IngressRoute of one host. Takes host, and middlewares (a list of names). */}}
{{- define "app.ingressRoutes" -}}
  {{- $host := .host -}}
  {{- $middlewares := .middlewares -}}
  {{- range $host.paths }}
- kind: Rule
  match: {{ include "app.match" (dict "host" $host.name "path" .) | quote }}
    {{- if hasPrefix "*." $host.name }}
  # Traefik asks the longest rule first, and that of a wildcard is longer than that of a host it covers.
  priority: {{ len .path }}
    {{- end }}
    {{- with $middlewares }}
  middlewares:
      {{- range . }}
    - name: {{ . | quote }}
      {{- end }}
    {{- end }}
  services:
    - name: {{ .service | quote }}
      port: {{ .port }}
  {{- end }}
{{- end -}}
