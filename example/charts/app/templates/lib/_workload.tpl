{{/*
How many pods, and how many old versions of them. Left out where a value was set to null.
Before the first image there is nothing to run: no pod, instead of one that tries to pull for ever.
*/}}
{{- define "app.counts" -}}
  {{- if include "app.waitsForImage" . }}
replicas: 0
  {{- else if not (kindIs "invalid" .Values.replicas) }}
replicas: {{ int64 .Values.replicas }}
  {{- end }}
  {{- if not (kindIs "invalid" .Values.revisionHistoryLimit) }}
revisionHistoryLimit: {{ int64 .Values.revisionHistoryLimit }}
  {{- end }}
{{- end -}}

{{/*
Kubernetes gives a Deployment ten minutes, and Flux calls it failed then. One whose startup probe
waits longer has that time on top. Written only where there is such a probe.
*/}}
{{- define "app.deadline" -}}
  {{- with (.Values.probes | default dict).startup }}
    {{- $budget := add (.initialDelaySeconds | default 0) (mul (.periodSeconds | default 10) (.failureThreshold | default 3)) }}
progressDeadlineSeconds: {{ min 2147483647 (add 600 $budget) }}
  {{- end }}
{{- end -}}

{{/* A StatefulSet keeps all claims of its pods or none: they go with it only where every one of them may. */}}
{{- define "app.claimRetention" -}}
  {{- $claims := 0 -}}
  {{- $going := 0 -}}
  {{- range .Facts.volumes -}}
    {{- if .claim -}}
      {{- $claims = add1 $claims -}}
      {{- if eq .claim.retain false }}{{ $going = add1 $going }}{{ end -}}
    {{- end -}}
  {{- end -}}
  {{- if and $claims (eq (int $claims) (int $going)) }}
persistentVolumeClaimRetentionPolicy:
  whenDeleted: Delete
  whenScaled: Retain
  {{- end -}}
{{- end -}}

{{/*
The claims that a StatefulSet makes for each of its pods. They carry no label of the chart's:
Kubernetes lets nothing here change, and every new version of the chart would.
*/}}
{{- define "app.claimTemplates" -}}
  {{- range .Facts.volumes }}
    {{- if .claim }}
- apiVersion: v1
  kind: PersistentVolumeClaim
  metadata:
    name: {{ .name | quote }}
      {{- with include "app.strings" .claim.labels }}
    labels:
      {{- . | nindent 6 }}
      {{- end }}
      {{- with include "app.strings" .claim.annotations }}
    annotations:
      {{- . | nindent 6 }}
      {{- end }}
  spec:
    {{- include "app.claimSpec" .claim | nindent 4 }}
    {{- end }}
  {{- end }}
{{- end -}}
