{{/* The application's name: the label that selects its pods. */}}
{{- define "app.name" -}}
  {{- default .Release.Name .Values.nameOverride | trunc 63 | trimAll "-." -}}
{{- end -}}

{{/*
The name of the release's objects. A release called my.app would make Services that
Kubernetes refuses, so dots become dashes.
*/}}
{{- define "app.fullname" -}}
  {{- $name := .Release.Name -}}
  {{- if and .Values.nameOverride (not (contains (toString .Values.nameOverride) $name)) -}}
    {{- $name = printf "%s-%s" $name .Values.nameOverride -}}
  {{- end -}}
  {{- include "app.fit" (dict "name" (default $name .Values.fullnameOverride | replace "." "-") "limit" 63) -}}
{{- end -}}

{{/*
The name, cut to the limit if it is longer. What is cut off leaves a checksum behind, so that two long names
never become one. Takes name and limit.
*/}}
{{- define "app.fit" -}}
  {{- $name := .name -}}
  {{- $limit := .limit -}}
  {{- if le (len $name) $limit -}}
    {{- $name -}}
  {{- else -}}
    {{- printf "%s-%s" (trunc (sub $limit 9 | int) $name | trimAll "-.") (sha256sum $name | trunc 8) -}}
  {{- end -}}
{{- end -}}

{{/* The name of an object that the release has several of. Takes root and suffix. */}}
{{- define "app.child" -}}
  {{- include "app.fit" (dict "name" (printf "%s-%s" .root.Facts.fullname .suffix) "limit" 63) -}}
{{- end -}}

{{/* The same for a host, whose dots may stay. Takes root and host. */}}
{{- define "app.hostChild" -}}
  {{- $host := .host | replace "*." "wildcard--" -}}
  {{- include "app.fit" (dict "name" (printf "%s-%s" .root.Facts.fullname $host) "limit" 253) -}}
{{- end -}}

{{/* A StatefulSet's name goes into a label of its pods, with eleven characters more. */}}
{{- define "app.workload" -}}
  {{- include "app.fit" (dict "name" .Facts.fullname "limit" (ternary 52 63 .Facts.stateful)) -}}
{{- end -}}

{{/* The Service that gives a StatefulSet's pods their names. */}}
{{- define "app.headless" -}}
  {{- include "app.child" (dict "root" . "suffix" "headless") -}}
{{- end -}}

{{- define "app.serviceAccountName" -}}
  {{- $account := .Values.serviceAccount | default dict -}}
  {{- if $account.name -}}
    {{- $account.name -}}
  {{- else if $account.create -}}
    {{- .Facts.fullname -}}
  {{- end -}}
{{- end -}}
