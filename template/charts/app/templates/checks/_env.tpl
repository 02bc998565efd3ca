{{- define "app.check.env" -}}
  {{- include "app.check.envList" (dict "at" "env" "env" (kindIs "slice" .Values.env | ternary .Values.env list)) }}
  {{- if kindIs "map" .Values.env }}
    {{- range $name, $value := .Values.env }}
      {{- if kindIs "map" $value }}
        {{- include "app.check.valueFrom" (dict "at" (printf "env.%s" $name) "source" $value.valueFrom) }}
      {{- end }}
    {{- end }}
    {{- include "app.check.envCircle" .Values.env }}
  {{- end }}
  {{- include "app.check.envFrom" (dict "at" "envFrom" "sources" .Values.envFrom) }}
{{- end -}}

{{/* Two variables that name each other: the first one keeps the other's name as text. */}}
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

{{/* Names once, and one value each. Takes at (the value's path) and env. */}}
{{- define "app.check.envList" -}}
  {{- $at := .at }}
  {{- $names := dict }}
  {{- range $i, $env := .env }}
    {{- if hasKey $names .name }}
      {{ $at }}[{{ $i }}].name is {{ .name | quote }}, and so is {{ $at }}[{{ get $names .name }}].name: a variable has one value. Remove one of them.
    {{- end }}
    {{- $_ := set $names .name $i }}
    {{- if and (hasKey . "value") (hasKey . "valueFrom") }}
      {{ $at }}[{{ $i }}] ({{ .name }}) has value and valueFrom: a variable has one value. Remove one of them.
    {{- end }}
    {{- if hasKey . "valueFrom" }}
      {{- include "app.check.valueFrom" (dict "at" (printf "%s[%d]" $at $i) "source" .valueFrom) }}
    {{- end }}
  {{- end }}
{{- end -}}

{{- define "app.check.valueFrom" -}}
  {{- if ne (len (keys .source)) 1 }}
    {{ .at }}.valueFrom names {{ keys .source | sortAlpha | join " and " | default "nothing" }}: a variable comes from one place. Give one of secretKeyRef, configMapKeyRef, fieldRef, resourceFieldRef.
  {{- end }}
{{- end -}}

{{- define "app.check.envFrom" -}}
  {{- $at := .at }}
  {{- range $i, $from := .sources }}
    {{- $sources := omit . "prefix" | keys }}
    {{- if ne (len $sources) 1 }}
      {{ $at }}[{{ $i }}] names {{ $sources | sortAlpha | join " and " | default "nothing" }}: give one of secretRef, configMapRef.
    {{- end }}
  {{- end }}
{{- end -}}
