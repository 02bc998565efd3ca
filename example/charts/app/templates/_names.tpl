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
{{- include "app.fit" (list (default $name .Values.fullnameOverride | replace "." "-") 63) -}}
{{- end -}}

{{/*
(list name limit): the name, cut to the limit when it is longer. What is cut off leaves a
checksum behind, so that two long names never become one.
*/}}
{{- define "app.fit" -}}
{{- $name := index . 0 -}}
{{- $limit := index . 1 -}}
{{- if le (len $name) $limit -}}
{{- $name -}}
{{- else -}}
{{- printf "%s-%s" (trunc (sub $limit 9 | int) $name | trimAll "-.") (sha256sum $name | trunc 8) -}}
{{- end -}}
{{- end -}}

{{/* (list root suffix): the name of an object that the release has several of. */}}
{{- define "app.child" -}}
{{- include "app.fit" (list (printf "%s-%s" (index . 0).Facts.fullname (index . 1)) 63) -}}
{{- end -}}

{{/* (list root host): the same for a host, whose dots may stay. */}}
{{- define "app.hostChild" -}}
{{- $host := index . 1 | replace "*." "wildcard--" -}}
{{- include "app.fit" (list (printf "%s-%s" (index . 0).Facts.fullname $host) 253) -}}
{{- end -}}

{{/* A StatefulSet's name goes into a label of its pods, with eleven characters more. */}}
{{- define "app.workload" -}}
{{- include "app.fit" (list .Facts.fullname (ternary 52 63 .Facts.stateful)) -}}
{{- end -}}

{{/* The Service that gives a StatefulSet's pods their names. */}}
{{- define "app.headless" -}}
{{- include "app.child" (list . "headless") -}}
{{- end -}}

{{- define "app.serviceAccountName" -}}
{{- $account := .Values.serviceAccount | default dict -}}
{{- if $account.name -}}
{{- $account.name -}}
{{- else if $account.create -}}
{{- .Facts.fullname -}}
{{- end -}}
{{- end -}}
