{{/* Says "true" for a host whose visitors have to log in. Takes (list root host). */}}
{{- define "app.signsIn" -}}
{{- $signIn := ((index . 0).Values.ingress | default dict).signIn | default dict -}}
{{- if and $signIn.enabled (has true (index . 1).guarded) }}true{{ end -}}
{{- end -}}

{{/* Says "true" if any host of the release has such visitors. */}}
{{- define "app.anySignsIn" -}}
{{- range .Facts.hosts }}{{ include "app.signsIn" (list $ .) }}{{ end -}}
{{- end -}}

{{- define "app.signInName" -}}
{{- include "app.child" (list . "sign-in") -}}
{{- end -}}

{{/* Where Traefik asks who somebody is; the groups go along, so that each release has its own. */}}
{{- define "app.signInAddress" -}}
{{- $signIn := .Values.ingress.signIn -}}
{{- $signIn.address | default (printf "http://sign-in-http.%s.svc.cluster.local" .Release.Namespace) | trimSuffix "/" -}}/
{{- with $signIn.groups }}?allowed_groups={{ join "," . | urlquery }}{{ end -}}
{{- end -}}

{{/* The annotation with the middlewares of a host that one has to log in to: that comes first. Takes (list root host). */}}
{{- define "app.signInAnnotation" -}}
{{- $root := index . 0 -}}
{{- if and $root.Facts.tls.traefik (include "app.signsIn" .) -}}
{{- $names := include "app.middleware" (list $root (include "app.signInName" $root)) -}}
{{- with include "app.middlewareNames" $root }}{{ $names = printf "%s,%s" $names . }}{{ end -}}
traefik.ingress.kubernetes.io/router.middlewares: {{ $names | quote }}
{{- end -}}
{{- end -}}

{{/* The middlewares of a host, for an IngressRoute. Takes (list root host). */}}
{{- define "app.hostMiddlewareRefs" -}}
{{- if include "app.signsIn" . }}
- name: {{ include "app.signInName" (index . 0) | quote }}
{{- end }}
{{- include "app.middlewareRefs" (index . 0) }}
{{- end -}}
