{{/* The application's own container. */}}
{{- define "app.container" -}}
{{- $image := .Values.image | default dict -}}
{{- $probes := .Values.probes | default dict -}}
- name: app
  image: {{ include "app.image" . | quote }}
  imagePullPolicy: {{ $image.pullPolicy | default "IfNotPresent" }}
  {{- include "app.given" (list .Values "command" "args" "workingDir") | replace "\n" "\n  " }}
  {{- with include "app.env" . }}
  env:
    {{- . | nindent 4 }}
  {{- end }}
  {{- include "app.given" (list .Values "envFrom") | replace "\n" "\n  " }}
  {{- with include "app.containerPorts" . }}
  ports:
    {{- . | replace "\n" "\n    " }}
  {{- end }}
  {{- with include "app.volumeMounts" . }}
  volumeMounts:
    {{- . | replace "\n" "\n    " }}
  {{- end }}
  {{- with $probes.startup }}
  startupProbe:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $probes.readiness }}
  readinessProbe:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $probes.liveness }}
  livenessProbe:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- include "app.given" (list .Values "lifecycle" "resources" "securityContext") | replace "\n" "\n  " }}
{{- end -}}
