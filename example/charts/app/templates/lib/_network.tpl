{{/* The ports of a rule. Takes ports, [{port, protocol}] of app.networkPorts. */}}
{{- define "app.rulePorts" -}}
  {{- range .ports }}
- port: {{ .port | toJson }}
  protocol: {{ .protocol }}
  {{- end }}
{{- end -}}

{{/*
The container's ports that the services and hosts lead to, each once, as JSON. Takes root, and open: with it, only those that
a Service opens to everyone: type LoadBalancer or NodePort, or external addresses.
*/}}
{{- define "app.networkPorts" -}}
  {{- $root := .root -}}
  {{- $open := .open -}}
  {{- $outside := dict -}}
  {{- range $root.Values.services -}}
    {{- if or (has (default "ClusterIP" .type) (list "LoadBalancer" "NodePort")) .externalIPs }}{{ $_ := set $outside .name true }}{{ end -}}
  {{- end -}}
  {{- $ports := list -}}
  {{- range $root.Facts.ports -}}
    {{- if or (not $open) (hasKey $outside .service) -}}
      {{- $ports = append $ports (dict "port" .target "protocol" .protocol) -}}
    {{- end -}}
  {{- end -}}
  {{- if not $open -}}
    {{- range $root.Facts.addedPorts }}{{ $ports = append $ports (dict "port" . "protocol" "TCP") }}{{ end -}}
  {{- end -}}
  {{- dict "ports" (uniq $ports) | toJson -}}
{{- end -}}

{{/* The pods of the release itself: the application, and its helm test. */}}
{{- define "app.ownPods" -}}
podSelector:
  matchLabels:
    app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "app.traefikPods" -}}
  {{- $traefik := (.Values.networkPolicy | default dict).traefik | default dict -}}
namespaceSelector: {{ $traefik.namespace | empty | ternary dict (dict "matchLabels" (dict "kubernetes.io/metadata.name" $traefik.namespace)) | toJson }}
podSelector:
  matchLabels:
    {{- toYaml ($traefik.labels | default (dict "app.kubernetes.io/name" "traefik")) | nindent 4 }}
{{- end -}}

{{/* Rules for what networkPolicy.from or networkPolicy.to lists. Takes side (from or to), pods and addresses. */}}
{{- define "app.listedPeers" -}}
  {{- $side := .side -}}
  {{- range .pods }}
    {{- $labels := merge dict (.release | empty | ternary dict (dict "app.kubernetes.io/instance" .release)) (.labels | default dict) }}
- {{ $side }}:
    - podSelector: {{ $labels | empty | ternary dict (dict "matchLabels" $labels) | toJson }}
      {{- with .namespace }}
      namespaceSelector: {{ dict "matchLabels" (dict "kubernetes.io/metadata.name" .) | toJson }}
      {{- end }}
    {{- with include "app.listedPorts" . }}
  {{- . | trim | nindent 2 }}
    {{- end }}
  {{- end }}
  {{- range .addresses }}
- {{ $side }}:
    - ipBlock:
        cidr: {{ .cidr | quote }}
    {{- with include "app.listedPorts" . }}
  {{- . | trim | nindent 2 }}
    {{- end }}
  {{- end }}
{{- end -}}

{{- define "app.listedPorts" -}}
  {{- $protocol := .protocol | default "TCP" -}}
  {{- with .ports }}
ports:
    {{- range . }}
  - port: {{ . }}
    protocol: {{ $protocol }}
    {{- end }}
  {{- end }}
{{- end -}}
