{{/* The application's own container. */}}
{{- define "app.container" -}}
  {{- $image := .Values.image | default dict -}}
  {{- $probes := .Values.probes | default dict -}}
- name: app
  image: {{ include "app.image" . | quote }}
  imagePullPolicy: {{ $image.pullPolicy | default "IfNotPresent" }}
  {{- with include "app.given" (dict "values" .Values "keys" (list "command" "args" "workingDir")) }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- with include "app.env" . }}
  env:
    {{- . | nindent 4 }}
  {{- end }}
  {{- with .Values.envFrom }}
  envFrom:
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- with include "app.containerPorts" . }}
  ports:
    {{- . | trim | nindent 4 }}
  {{- end }}
  {{- with include "app.volumeMounts" . }}
  volumeMounts:
    {{- . | trim | nindent 4 }}
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
  {{- with include "app.given" (dict "values" .Values "keys" (list "lifecycle" "resources" "securityContext")) }}
  {{- . | nindent 2 }}
  {{- end }}
{{- end -}}
