{{/* Objects beside the release: Helm would name neither the entry nor what is missing in it. */}}
{{- define "app.check.extraObjects" -}}
{{- range $i, $object := .Values.extraObjects }}
{{- $text := tpl (kindIs "string" $object | ternary $object (toYaml $object)) $ }}
{{- range splitList "\n---" (printf "\n%s" $text) }}
{{- $read := fromYaml . }}
{{- if $read.Error }}
extraObjects[{{ $i }}] cannot be read: {{ $read.Error | replace "\n" " " }}. Write it as a map, or mend its text.
{{- else if and $read (not (and $read.apiVersion $read.kind (or $read.items (kindIs "map" $read.metadata | ternary $read.metadata dict).name))) }}
extraObjects[{{ $i }}] lacks apiVersion, kind or metadata.name: every object of Kubernetes has all three. Add what is missing.
{{- end }}
{{- end }}
{{- end }}
{{- end -}}
