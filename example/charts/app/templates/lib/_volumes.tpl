{{/* The mounts of the application's own container. */}}
{{- define "app.volumeMounts" -}}
  {{- range $volume := .Facts.volumes }}
    {{- range .mounts }}
- name: {{ $volume.name | quote }}
  mountPath: {{ .mountPath | quote }}
      {{- with .subPath }}
  subPath: {{ . | quote }}
      {{- end }}
      {{- if $volume.readOnly }}
  readOnly: true
      {{- end }}
    {{- end }}
  {{- end }}
{{- end -}}

{{/* The spec of a claim. Takes the claim's value. */}}
{{- define "app.claimSpec" -}}
accessModes:
  {{- toYaml (.accessModes | default (list "ReadWriteOnce")) | nindent 2 }}
  {{- if hasKey . "storageClass" }}
storageClassName: {{ .storageClass | quote }}
  {{- end }}
  {{- with .volumeName }}
volumeName: {{ . | quote }}
  {{- end }}
  {{- with .selector }}
selector:
  {{- toYaml . | nindent 2 }}
  {{- end }}
resources:
  requests:
    storage: {{ include "app.text" .size | quote }}
{{- end -}}
