{{/* A middleware by its full name, <namespace>-<name>@kubernetescrd, as an Ingress wants it. Takes root and name. */}}
{{- define "app.middleware" -}}
  {{- if contains "@" .name -}}
    {{- .name -}}
  {{- else -}}
    {{- printf "%s-%s@kubernetescrd" .root.Release.Namespace .name -}}
  {{- end -}}
{{- end -}}

{{/* What ingress.middlewares names, joined by commas. */}}
{{- define "app.middlewareNames" -}}
  {{- range $i, $name := (.Values.ingress | default dict).middlewares -}}
    {{- if $i }},{{ end }}{{ include "app.middleware" (dict "root" $ "name" $name) -}}
  {{- end -}}
{{- end -}}

{{/*
The same for an IngressRoute, as JSON: a list of names. One of the release's own namespace goes by its plain name there:
Traefik refuses the full one, unless references across namespaces are allowed.
*/}}
{{- define "app.middlewareRefs" -}}
  {{- $own := printf "%s-" .Release.Namespace -}}
  {{- $names := list -}}
  {{- range (.Values.ingress | default dict).middlewares -}}
    {{- if and (hasPrefix $own .) (hasSuffix "@kubernetescrd" .) -}}
      {{- $names = append $names (. | trimPrefix $own | trimSuffix "@kubernetescrd") -}}
    {{- else -}}
      {{- $names = append $names . -}}
    {{- end -}}
  {{- end -}}
  {{- toJson $names -}}
{{- end -}}
