{{/*
.Facts.tls:

  ssl       whether the hosts are served by https: wherever there are any, unless the values say no
  traefik   whether Traefik serves them: its own routes, and Ingresses of its class
  redirect  whether http is led to https; other controllers have their own way of doing so
  secret    the Secret that holds the certificate; empty when Traefik finds one itself
*/}}
{{- define "app.facts.tls" -}}
  {{- $ingress := .Values.ingress | default dict -}}
  {{- $tls := $ingress.tls | default dict -}}
  {{- $on := $ingress.enabled | default false -}}
  {{- $ssl := and $on (ne $ingress.ssl false) -}}
  {{- $traefik := and $on (or (eq (default "Ingress" $ingress.kind) "IngressRoute") (hasPrefix "traefik" (default "traefik" $ingress.className))) -}}
  {{- $secret := $tls.secretName -}}
  {{- if $tls.issuer }}{{ $secret = include "app.child" (dict "root" . "suffix" "tls") }}{{ end -}}
  {{- $_ := set .Facts "tls" (dict
        "ssl" $ssl
        "traefik" $traefik
        "redirect" (and $ssl $traefik (ne $ingress.redirect false))
        "secret" $secret) -}}
{{- end -}}

{{- define "app.redirectName" -}}
  {{- include "app.child" (dict "root" . "suffix" "https-redirect") -}}
{{- end -}}

{{/* Traefik's entry point of plain http, and that of https. */}}
{{- define "app.entryPointHttp" -}}
  {{- ((.Values.ingress | default dict).entryPoints | default dict).http | default "web" -}}
{{- end -}}
{{- define "app.entryPointHttps" -}}
  {{- ((.Values.ingress | default dict).entryPoints | default dict).https | default "websecure" -}}
{{- end -}}
