{{- define "app.check.env" -}}
{{- include "app.check.envList" (list "env" (kindIs "slice" .Values.env | ternary .Values.env list)) }}
{{- if kindIs "map" .Values.env }}
{{- range $name, $value := .Values.env }}
{{- if kindIs "map" $value }}
{{- include "app.check.valueFrom" (list (printf "env.%s" $name) $value.valueFrom) }}
{{- end }}
{{- end }}
{{- include "app.check.envCircle" .Values.env }}
{{- end }}
{{- include "app.check.envFrom" (list "envFrom" .Values.envFrom) }}
{{- end -}}

{{/* Two variables that name each other: whichever comes first keeps the other's name as text. */}}
{{- define "app.check.envCircle" -}}
{{- $env := . }}
{{- $before := list }}
{{- range $name := include "app.envOrder" $env | fromJsonArray }}
{{- range include "app.envReferences" (get $env $name) | fromJsonArray }}
{{- if and (ne . $name) (hasKey $env .) (not (has . $before)) }}
env.{{ $name }} takes in $({{ . }}), and env.{{ . }} takes in $({{ $name }}), itself or through others: Kubernetes resolves no circle. Write one of them out.
{{- end }}
{{- end }}
{{- $before = append $before $name }}
{{- end }}
{{- end -}}

{{/* (list path env): names once, and one value each. */}}
{{- define "app.check.envList" -}}
{{- $at := index . 0 }}
{{- $names := dict }}
{{- range $i, $env := index . 1 }}
{{- if hasKey $names .name }}
{{ $at }}[{{ $i }}].name is {{ .name | quote }}, and so is {{ $at }}[{{ get $names .name }}].name: a variable has one value. Remove one of them.
{{- end }}
{{- $_ := set $names .name $i }}
{{- if and (hasKey . "value") (hasKey . "valueFrom") }}
{{ $at }}[{{ $i }}] ({{ .name }}) has value and valueFrom: a variable has one value. Remove one of them.
{{- end }}
{{- if hasKey . "valueFrom" }}
{{- include "app.check.valueFrom" (list (printf "%s[%d]" $at $i) .valueFrom) }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "app.check.valueFrom" -}}
{{- if ne (len (keys (index . 1))) 1 }}
{{ index . 0 }}.valueFrom names {{ keys (index . 1) | sortAlpha | join " and " | default "nothing" }}: a variable comes from one place. Give one of secretKeyRef, configMapKeyRef, fieldRef, resourceFieldRef.
{{- end }}
{{- end -}}

{{- define "app.check.envFrom" -}}
{{- $at := index . 0 }}
{{- range $i, $from := index . 1 }}
{{- $sources := omit . "prefix" | keys }}
{{- if ne (len $sources) 1 }}
{{ $at }}[{{ $i }}] names {{ $sources | sortAlpha | join " and " | default "nothing" }}: give one of secretRef, configMapRef.
{{- end }}
{{- end }}
{{- end -}}
