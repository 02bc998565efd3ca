{{/* The ports of one Service. Takes root and service, its name. */}}
{{- define "app.servicePorts" -}}
  {{- $service := .service -}}
  {{- range .root.Facts.ports }}
    {{- if eq .service $service }}
- name: {{ .name | quote }}
  port: {{ .port }}
  targetPort: {{ .target | toJson }}
  protocol: {{ .protocol }}
      {{- with .nodePort }}
  nodePort: {{ . }}
      {{- end }}
      {{- with .appProtocol }}
  appProtocol: {{ . | quote }}
      {{- end }}
    {{- end }}
  {{- end }}
{{- end -}}

{{/* The ports of the application's own container. */}}
{{- define "app.containerPorts" -}}
  {{- range .Facts.containerPorts }}
- name: {{ .name | quote }}
  containerPort: {{ .number }}
  protocol: {{ .protocol }}
  {{- end }}
{{- end -}}
