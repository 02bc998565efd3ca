{{- define "app.check.volumes" -}}
  {{- $names := dict }}
  {{- $claims := dict }}
  {{- range .Facts.volumes }}
    {{- if not .kinds }}
      {{ .at }} names no source: say what is mounted, with one of nfs, hostPath, existingClaim, claim, emptyDir, configMap or secret.
    {{- else if gt (len .kinds) 1 }}
      {{ .at }} names {{ len .kinds }} sources, {{ join " and " .kinds }}: a volume has one. Remove the others, or make each an entry of volumes.items.
    {{- end }}
    {{- if hasKey $names .name }}
      {{ .at }}: the pod has a volume of the name {{ .name | quote }} already, from {{ get $names .name }}. Rename one of them.
    {{- end }}
    {{- $_ := set $names .name .at }}
    {{- $claim := (.source.persistentVolumeClaim | default dict).claimName }}
    {{- if $claim }}
      {{- if hasKey $claims $claim }}
        {{ .at }} is the claim {{ $claim | quote }}, and so is {{ get $claims $claim }}: before Kubernetes 1.35, a pod that has one claim as two volumes never starts. Put the paths of both into one mountPath.
      {{- end }}
      {{- $_ := set $claims $claim .at }}
    {{- end }}
  {{- end }}
{{- end -}}

{{/* Two volumes on one path of the application's container. */}}
{{- define "app.check.mounts" -}}
  {{- $paths := dict }}
  {{- range $volume := .Facts.volumes }}
    {{- range .mounts }}
      {{- if has ".." (splitList "/" .subPath) }}
        {{ $volume.at }}.mountPath: {{ .subPath }}:{{ .mountPath }} leads out of the volume, which Kubernetes does not allow. Write the path without "..".
      {{- end }}
      {{- $path := clean .mountPath }}
      {{- if hasKey $paths $path }}
        {{ $volume.at }}.mountPath: {{ $path }} is taken by {{ get $paths $path }}. Two volumes cannot be mounted on one path; change one of them.
      {{- end }}
      {{- $_ := set $paths $path (printf "%s.mountPath" $volume.at) }}
    {{- end }}
  {{- end }}
{{- end -}}

{{- define "app.check.configMaps" -}}
  {{- range $name, $config := .Values.configMaps }}
    {{- if $config }}
      {{- $size := 0 }}
      {{- range $key, $content := $config.data }}{{ $size = add $size (len $key) (len $content) }}{{ end }}
      {{- range $key, $content := $config.binaryData }}{{ $size = add $size (len $key) (div (mul 3 (len $content)) 4) }}{{ end }}
      {{- if gt (int $size) 1048576 }}
        configMaps.{{ $name }} is {{ $size }} bytes: Kubernetes takes no more than 1 MiB. Put it on a volume, or into the image.
      {{- end }}
      {{- range $key, $content := $config.binaryData }}
        {{- if hasKey ($config.data | default dict) $key }}
          configMaps.{{ $name }}.binaryData.{{ $key }} is in data too: a key has one content. Remove one of them.
        {{- end }}
      {{- end }}
      {{- range $.Facts.volumes }}
        {{- if eq .at (printf "configMaps.%s" $name) }}
          {{- range .mounts }}
            {{- if and .subPath (not (hasKey ($config.data | default dict) .subPath)) (not (hasKey ($config.binaryData | default dict) .subPath)) }}
              configMaps.{{ $name }}.mountPath: {{ .subPath }}:{{ .mountPath }} mounts the key {{ .subPath | quote }}, and configMaps.{{ $name }}.data has none of that name. Write the key as it is written in data.
            {{- end }}
          {{- end }}
        {{- end }}
      {{- end }}
    {{- end }}
  {{- end }}
{{- end -}}
