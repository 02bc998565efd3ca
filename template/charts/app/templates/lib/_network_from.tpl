{{/* Who may call the release's pods. The node that a pod is on always may: the kubelet probes it. */}}
{{- define "app.callers" -}}
  {{- $from := (.Values.networkPolicy | default dict).from | default dict -}}
  {{- if $from.everyone }}
- {}
  {{- else }}
- from:
    - {{ include "app.ownPods" . | indent 6 | trim }}
    {{- $ports := include "app.networkPorts" (dict "root" . "open" false) | fromJson }}
    {{- if and (ne $from.traefik false) $ports.ports }}
- from:
    - {{ include "app.traefikPods" . | indent 6 | trim }}
  ports:
    {{- include "app.rulePorts" $ports | trim | nindent 4 }}
    {{- end }}
    {{- $open := include "app.networkPorts" (dict "root" . "open" true) | fromJson }}
    {{- if $open.ports }}
- ports:
    {{- include "app.rulePorts" $open | trim | nindent 4 }}
    {{- end }}
    {{- include "app.listedPeers" (dict "side" "from" "pods" $from.pods "addresses" $from.addresses) }}
  {{- end }}
{{- end -}}
