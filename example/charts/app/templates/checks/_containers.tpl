{{/* The application's probes and hooks, and the containers beside it. */}}
{{- define "app.check.containers" -}}
  {{- $root := . }}
  {{- $ports := .Facts.portNames }}
  {{- range $name, $probe := .Values.probes }}
    {{- if $probe }}
      {{- include "app.check.probe" (dict "at" (printf "probes.%s" $name) "probe" $probe "portNames" $ports "kind" $name) }}
    {{- end }}
  {{- end }}
  {{- include "app.check.lifecycle" (dict "at" "lifecycle" "lifecycle" .Values.lifecycle) }}
  {{- $volumes := list }}
  {{- range .Facts.volumes }}{{ $volumes = append $volumes .name }}{{ end }}
  {{- $names := dict "app" "the application's own container" }}
  {{- $ports = dict }}
  {{- range .Facts.containerPorts }}{{ $_ := set $ports .name "services" }}{{ end }}
  {{- range $list := list "initContainers" "sidecars" }}
    {{- range $i, $container := get $root.Values $list | default list }}
      {{- $at := printf "%s[%d]" $list $i }}
      {{- if hasKey $names .name }}
        {{ $at }}.name is {{ .name | quote }}, and so is {{ get $names .name }}. Choose another name.
      {{- end }}
      {{- $_ := set $names .name (printf "%s.name" $at) }}
      {{- include "app.check.container" (dict "at" $at "container" . "volumeNames" $volumes "portNames" $ports) }}
    {{- end }}
  {{- end }}
{{- end -}}

{{/* A container beside the application. Takes at, container, volumeNames (a list) and portNames (a map from each name to its place). */}}
{{- define "app.check.container" -}}
  {{- $at := .at }}
  {{- $container := .container }}
  {{- $volumes := .volumeNames }}
  {{- $taken := .portNames }}
  {{- $ports := list }}
  {{- $seen := dict }}
  {{- range $i, $port := $container.ports }}
    {{- $number := printf "%v/%s" .containerPort (.protocol | default "TCP") }}
    {{- if hasKey $seen $number }}
      {{ $at }}.ports[{{ $i }}].containerPort is {{ $number }}, and so is {{ $at }}.ports[{{ get $seen $number }}].containerPort. Remove one of them.
    {{- end }}
    {{- $_ := set $seen $number $i }}
    {{- if .name }}
      {{- if hasKey $taken .name }}
        {{ $at }}.ports[{{ $i }}].name is {{ .name | quote }}, which {{ get $taken .name }} has in the same pod. Choose another name.
      {{- end }}
      {{- $_ := set $taken .name $at }}
      {{- $ports = append $ports .name }}
    {{- end }}
  {{- end }}
  {{- include "app.check.envList" (dict "at" (printf "%s.env" $at) "env" $container.env) }}
  {{- include "app.check.envFrom" (dict "at" (printf "%s.envFrom" $at) "sources" $container.envFrom) }}
  {{- include "app.check.lifecycle" (dict "at" (printf "%s.lifecycle" $at) "lifecycle" $container.lifecycle) }}
  {{- range $key := list "startupProbe" "readinessProbe" "livenessProbe" }}
    {{- if hasKey $container $key }}
      {{- include "app.check.probe" (dict "at" (printf "%s.%s" $at $key) "probe" (get $container $key) "portNames" $ports "kind" (trimSuffix "Probe" $key)) }}
    {{- end }}
  {{- end }}
  {{- if hasPrefix "sidecars" $at }}
    {{- if $container.restartPolicy }}
      {{ $at }}.restartPolicy is set, which only an init container has: one with restartPolicy: Always runs beside the application, and starts before it. Move it to initContainers, or remove restartPolicy.
    {{- end }}
  {{- else if not $container.restartPolicy }}
    {{- range list "lifecycle" "startupProbe" "readinessProbe" "livenessProbe" }}
      {{- if hasKey $container . }}
        {{ $at }}.{{ . }} is set, but this container ends before the application starts. Remove it, or set {{ $at }}.restartPolicy: Always.
      {{- end }}
    {{- end }}
  {{- end }}
  {{- $paths := dict }}
  {{- range $i, $mount := $container.volumeMounts }}
    {{- if not (has .name $volumes) }}
      {{ $at }}.volumeMounts[{{ $i }}].name is {{ .name | quote }}, and the pod has no volume of that name ({{ join ", " $volumes | default "there are none" }}). Correct it, or add it to volumes.items.
    {{- end }}
    {{- $path := clean .mountPath }}
    {{- if hasKey $paths $path }}
      {{ $at }}.volumeMounts[{{ $i }}].mountPath is {{ .mountPath }}, and so is volumeMounts[{{ get $paths $path }}].mountPath. Two volumes cannot be mounted on one path; change one of them.
    {{- end }}
    {{- $_ := set $paths $path $i }}
  {{- end }}
{{- end -}}
