{{/* The ports of a rule, from [{port, protocol}] of app.networkPorts. Takes (list ports). */}}
{{- define "app.rulePorts" -}}
{{- range first . }}
- port: {{ .port | toJson }}
  protocol: {{ .protocol }}
{{- end }}
{{- end -}}

{{/*
(list root open): the container's ports that the services and hosts lead to, each once, as JSON. With open only those that
a Service opens to everyone: type LoadBalancer or NodePort, or addresses of its own.
*/}}
{{- define "app.networkPorts" -}}
{{- $root := index . 0 -}}
{{- $open := index . 1 -}}
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

{{/* (list key peers addresses): rules for what networkPolicy.from or networkPolicy.to lists. The key is from or to. */}}
{{- define "app.listedPeers" -}}
{{- $key := index . 0 -}}
{{- range index . 1 }}
{{- $labels := merge dict (.release | empty | ternary dict (dict "app.kubernetes.io/instance" .release)) (.labels | default dict) }}
- {{ $key }}:
    - podSelector: {{ $labels | empty | ternary dict (dict "matchLabels" $labels) | toJson }}
      {{- with .namespace }}
      namespaceSelector: {{ dict "matchLabels" (dict "kubernetes.io/metadata.name" .) | toJson }}
      {{- end }}
  {{- include "app.listedPorts" . | replace "\n" "\n  " }}
{{- end }}
{{- range index . 2 }}
- {{ $key }}:
    - ipBlock:
        cidr: {{ .cidr | quote }}
  {{- include "app.listedPorts" . | replace "\n" "\n  " }}
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

{{/* Who may call the release's pods. The node that a pod is on always may: the kubelet probes it. */}}
{{- define "app.callers" -}}
{{- $from := (.Values.networkPolicy | default dict).from | default dict -}}
{{- if $from.everyone }}
- {}
{{- else }}
- from:
    - {{ include "app.ownPods" . | indent 6 | trim }}
{{- $ports := include "app.networkPorts" (list . false) | fromJson }}
{{- if and (ne $from.traefik false) $ports.ports }}
- from:
    - {{ include "app.traefikPods" . | indent 6 | trim }}
  ports:
    {{- include "app.rulePorts" (list $ports.ports) | replace "\n" "\n    " }}
{{- end }}
{{- $open := include "app.networkPorts" (list . true) | fromJson }}
{{- with $open.ports }}
- ports:
    {{- include "app.rulePorts" (list .) | replace "\n" "\n    " }}
{{- end }}
{{- include "app.listedPeers" (list "from" $from.pods $from.addresses) }}
{{- end }}
{{- end -}}
