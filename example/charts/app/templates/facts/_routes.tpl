{{/*
.Facts.hosts, .Facts.gatewayHosts: [{name, paths: [{path, pathType, service, port}], guarded}], entries of
one host together, in the order of the values; guarded says of each whether ingress.signIn is for it.

A host finds its Service by name, or by port, or takes the only port there is. A port that no
Service has is added when another host of the release is found: one container then serves
several hosts on several ports. Otherwise the entry is lost, and the checks say so.
*/}}
{{- define "app.facts.routes" -}}
  {{- $facts := .Facts -}}
  {{- $ingress := .Values.ingress | default dict -}}
  {{- $gateway := .Values.gateway | default dict -}}
  {{- range $key := list "hosts" "gatewayHosts" "addedPorts" "lost" "tcpRoutes" -}}
    {{- $_ := set $facts $key list -}}
  {{- end -}}
  {{- if and $ingress.enabled $ingress.hosts -}}
    {{- include "app.facts.hosts" (dict "root" . "fact" "hosts" "at" "ingress.hosts" "hosts" $ingress.hosts) -}}
  {{- end -}}
  {{- if $gateway.enabled -}}
    {{- if $gateway.hosts -}}
      {{- include "app.facts.hosts" (dict "root" . "fact" "gatewayHosts" "at" "gateway.hosts" "hosts" $gateway.hosts) -}}
    {{- else if $ingress.hosts -}}
      {{- include "app.facts.hosts" (dict "root" . "fact" "gatewayHosts" "at" "ingress.hosts" "hosts" $ingress.hosts) -}}
    {{- end -}}
  {{- end -}}
  {{- range $i, $route := .Values.tcpRoutes -}}
    {{- $_ := include "app.backend" (dict "root" $ "entry" $route) -}}
    {{- if $facts.backend -}}
      {{- $_ := set $facts "tcpRoutes" (append $facts.tcpRoutes (dict "route" $route "backend" $facts.backend)) -}}
    {{- else -}}
      {{- $_ := set $facts "lost" (append $facts.lost (dict "at" (printf "tcpRoutes[%d]" $i) "entry" $route)) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}

{{/* The hosts of one value, into .Facts.<fact>. Takes root, fact, at (the value's path) and hosts. */}}
{{- define "app.facts.hosts" -}}
  {{- $root := .root -}}
  {{- $facts := $root.Facts -}}
  {{- $at := .at -}}
  {{- $hosts := .hosts -}}
  {{- $found := dict -}}
  {{- range $hosts -}}
    {{- $_ := include "app.backend" (dict "root" $root "entry" .) -}}
    {{- if $facts.backend -}}{{- $_ := set $found .name true -}}{{- end -}}
  {{- end -}}
  {{- $grouped := list -}}
  {{- $groups := dict -}}
  {{- range $i, $host := $hosts -}}
    {{- $_ := include "app.backend" (dict "root" $root "entry" $host) -}}
    {{- $backend := $facts.backend -}}
    {{- if not $backend -}}
      {{- if and $host.servicePort (not $host.service) (omit $found $host.name) -}}
        {{- $port := int $host.servicePort -}}
        {{- $_ := set $facts "addedPorts" (append $facts.addedPorts $port | uniq) -}}
        {{- $backend = dict "service" (include "app.child" (dict "root" $root "suffix" (printf "port-%d" $port))) "port" $port -}}
      {{- else -}}
        {{- $_ := set $facts "lost" (append $facts.lost (dict "at" (printf "%s[%d]" $at $i) "entry" $host) | uniq) -}}
        {{- $backend = dict "service" "" "port" 0 -}}
      {{- end -}}
    {{- end -}}
    {{- if not (hasKey $groups $host.name) -}}
      {{- $_ := set $groups $host.name (dict "name" $host.name "paths" list "guarded" list) -}}
      {{- $grouped = append $grouped (get $groups $host.name) -}}
    {{- end -}}
    {{- $group := get $groups $host.name -}}
    {{- $path := merge (dict "path" ($host.path | default "/") "pathType" ($host.pathType | default "Prefix")) $backend -}}
    {{- $_ := set $group "paths" (append $group.paths $path) -}}
    {{- $_ := set $group "guarded" (append $group.guarded (ne $host.signIn false)) -}}
  {{- end -}}
  {{- $_ := set $facts .fact $grouped -}}
{{- end -}}

{{/* The Service and port that an entry means, as .Facts.backend; empty if there is none. Takes root and entry. */}}
{{- define "app.backend" -}}
  {{- $facts := .root.Facts -}}
  {{- $entry := .entry -}}
  {{- $port := int $entry.servicePort -}}
  {{- $fits := list -}}
  {{- range $facts.ports -}}
    {{- if and (eq .protocol "TCP") (or (not $entry.service) (eq .service (toString $entry.service))) (or (not $port) (eq .port $port)) -}}
      {{- $fits = append $fits . -}}
    {{- end -}}
  {{- end -}}
  {{- $backend := dict -}}
  {{- if or (eq (len $fits) 1) (and $fits (or $port $entry.service)) -}}
    {{- $backend = dict "service" (first $fits).object "port" (first $fits).port -}}
  {{- end -}}
  {{- $_ := set $facts "backend" $backend -}}
{{- end -}}
