{{/* A middleware by its full name, <namespace>-<name>@kubernetescrd, as an Ingress wants it. Takes (list root name). */}}
{{- define "app.middleware" -}}
{{- if contains "@" (index . 1) -}}
{{- index . 1 -}}
{{- else -}}
{{- printf "%s-%s@kubernetescrd" (index . 0).Release.Namespace (index . 1) -}}
{{- end -}}
{{- end -}}

{{/* What ingress.middlewares names, joined by commas. */}}
{{- define "app.middlewareNames" -}}
{{- range $i, $name := (.Values.ingress | default dict).middlewares -}}
{{- if $i }},{{ end }}{{ include "app.middleware" (list $ $name) -}}
{{- end -}}
{{- end -}}

{{/*
The same for an IngressRoute. One of the release's own namespace goes by its plain name there:
Traefik refuses the full one, unless references across namespaces are allowed.
*/}}
{{- define "app.middlewareRefs" -}}
{{- $own := printf "%s-" .Release.Namespace -}}
{{- range (.Values.ingress | default dict).middlewares }}
{{- if and (hasPrefix $own .) (hasSuffix "@kubernetescrd" .) }}
- name: {{ . | trimPrefix $own | trimSuffix "@kubernetescrd" | quote }}
{{- else }}
- name: {{ . | quote }}
{{- end }}
{{- end }}
{{- end -}}
