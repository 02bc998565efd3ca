{{/* Says "true" for a host whose visitors have to log in. Takes root and host. */}}
{{- define "app.signsIn" -}}
  {{- $signIn := (.root.Values.ingress | default dict).signIn | default dict -}}
  {{- if and $signIn.enabled (has true .host.guarded) }}true{{ end -}}
{{- end -}}

{{/* Says "true" if any host of the release has such visitors. */}}
{{- define "app.anySignsIn" -}}
  {{- range .Facts.hosts }}{{ include "app.signsIn" (dict "root" $ "host" .) }}{{ end -}}
{{- end -}}

{{- define "app.signInName" -}}
  {{- include "app.child" (dict "root" . "suffix" "sign-in") -}}
{{- end -}}

{{/* Where Traefik asks who somebody is; the groups go along, so that each release has its own. */}}
{{- define "app.signInAddress" -}}
  {{- $signIn := .Values.ingress.signIn -}}
  {{- $signIn.address | default (printf "http://sign-in-http.%s.svc.cluster.local" .Release.Namespace) | trimSuffix "/" -}}/
  {{- with $signIn.groups }}?allowed_groups={{ join "," . | urlquery }}{{ end -}}
{{- end -}}

{{/* The annotation with the middlewares of a host that one has to log in to: that comes first. Takes root and host. */}}
{{- define "app.signInAnnotation" -}}
  {{- $root := .root -}}
  {{- if and $root.Facts.tls.traefik (include "app.signsIn" .) -}}
    {{- $names := include "app.middleware" (dict "root" $root "name" (include "app.signInName" $root)) -}}
    {{- with include "app.middlewareNames" $root }}{{ $names = printf "%s,%s" $names . }}{{ end -}}
traefik.ingress.kubernetes.io/router.middlewares: {{ $names | quote }}
  {{- end -}}
{{- end -}}

{{/* The middlewares of a host for an IngressRoute, as JSON. Takes root and host. */}}
{{- define "app.hostMiddlewareRefs" -}}
  {{- $names := include "app.middlewareRefs" .root | fromJsonArray -}}
  {{- if include "app.signsIn" . -}}
    {{- $names = prepend $names (include "app.signInName" .root) -}}
  {{- end -}}
  {{- toJson $names -}}
{{- end -}}
