{{/*
How old pods make way for new ones. When the values do not say, a second pod is started beside
the first only if there is nothing that both would write to, and no port of the node that both need.
*/}}
{{- define "app.strategy" -}}
  {{- $strategy := dict "type" "RollingUpdate" -}}
  {{- if kindIs "map" .Values.strategy -}}
    {{- $strategy = merge dict .Values.strategy -}}
  {{- else if .Values.strategy -}}
    {{- $strategy = dict "type" .Values.strategy -}}
  {{- else if and (not .Facts.stateful) (or .Values.hostNetwork (include "app.hostPorts" .) (include "app.unshared" .)) -}}
    {{- $strategy = dict "type" "Recreate" -}}
  {{- end -}}
  {{- /*
  The pace is written out, as Kubernetes has it by default: what Kubernetes filled in by itself would stay at the next
  server-side apply, and there it forbids a change to another type.
  */}}
  {{- if eq $strategy.type "RollingUpdate" -}}
    {{- $pace := .Facts.stateful | ternary (dict "partition" 0) (dict "maxSurge" "25%" "maxUnavailable" "25%") -}}
    {{- range $key, $value := $strategy.rollingUpdate }}{{ $_ := set $pace $key $value }}{{ end -}}
    {{- $_ := set $strategy "rollingUpdate" $pace -}}
  {{- end -}}
  {{- toYaml $strategy -}}
{{- end -}}

{{/* Whether a container beside the application takes a port of its node. */}}
{{- define "app.hostPorts" -}}
  {{- range concat (.Values.sidecars | default list) (.Values.initContainers | default list) -}}
    {{- range .ports }}{{ if .hostPort }}true{{ end }}{{ end -}}
  {{- end -}}
{{- end -}}

{{/*
The names of the volumes that two pods may not write to at once, joined by commas. An existing
claim counts, because its access modes are not known here; so does NFS under a single replica,
because nothing says that the application can stand a second writer.
*/}}
{{- define "app.unshared" -}}
  {{- $names := list -}}
  {{- range .Facts.volumes -}}
    {{- if .claim -}}
      {{- if not (has "ReadWriteMany" (.claim.accessModes | default list)) }}{{ $names = append $names .name }}{{ end -}}
    {{- else if has "existingClaim" .kinds -}}
      {{- $names = append $names .name -}}
    {{- else if not .readOnly -}}
      {{- if has "hostPath" .kinds -}}
        {{- $names = append $names .name -}}
      {{- else if has "nfs" .kinds -}}
        {{- if and (not .source.nfs.readOnly) (le (int (default 1 $.Values.replicas)) 1) }}{{ $names = append $names .name }}{{ end -}}
      {{- end -}}
    {{- end -}}
  {{- end -}}
  {{- join "," $names -}}
{{- end -}}
