{{/*
A release that checks another one (check.of) has its image, environment and files, and nothing that serves, stores or scans.
The values of the application are the same for both; this takes out of them what a check has no use for.
*/}}
{{- define "app.onlyTheCheck" -}}
  {{- range list "services" "tcpRoutes" "extraObjects" "initContainers" "sidecars" "topologySpreadConstraints" -}}
    {{- $_ := set $.Values . list -}}
  {{- end -}}
  {{- range list "probes" "lifecycle" "strategy" -}}
    {{- $_ := set $.Values . dict -}}
  {{- end -}}
  {{- range list "ingress" "gateway" "volumes" "tests" -}}
    {{- $part := set (get $.Values . | default dict | deepCopy) "enabled" false -}}
    {{- $_ := set $.Values . (set $part "hosts" list) -}}
  {{- end -}}
  {{- /* With the names of the application its objects would be the application's. */ -}}
  {{- $_ := set .Values "fullnameOverride" "" -}}
  {{- $_ := set .Values "nameOverride" "" -}}
  {{- $_ := set .Values "kind" "Deployment" -}}
  {{- $_ := set .Values "hostNetwork" false -}}
  {{- $_ := set .Values "image" (set (.Values.image | default dict | deepCopy) "imagePolicy" false) -}}
  {{- $_ := set .Values "affinity" (include "app.besideTheChecked" . | fromYaml) -}}
{{- end -}}

{{/* The node that the application's pod is on is the one that will need the image. */}}
{{- define "app.besideTheChecked" -}}
  {{- $affinity := deepCopy (.Values.affinity | default dict) -}}
  {{- $pods := $affinity.podAffinity | default dict -}}
  {{- $selector := dict "matchLabels" (dict "app.kubernetes.io/instance" .Values.check.of) -}}
  {{- $term := dict "topologyKey" "kubernetes.io/hostname" "labelSelector" $selector -}}
  {{- $preferred := append ($pods.preferredDuringSchedulingIgnoredDuringExecution | default list) (dict "weight" 100 "podAffinityTerm" $term) -}}
  {{- $_ := set $pods "preferredDuringSchedulingIgnoredDuringExecution" $preferred -}}
  {{- $_ := set $affinity "podAffinity" $pods -}}
  {{- toYaml $affinity -}}
{{- end -}}

{{/* The pod of the check: the application's, behind a container that asks the registry for the image. */}}
{{- define "app.checkPod" -}}
  {{- $pod := include "app.podTemplate" . | fromYaml -}}
  {{- $spec := $pod.spec -}}
  {{- $_ := set $spec "restartPolicy" "Never" -}}
  {{- $_ := set $spec "initContainers" (list (include "app.askForImage" . | fromYaml)) -}}
  {{- $container := first $spec.containers -}}
  {{- $_ := set $container "name" "check" -}}
  {{- /* What it said last is in the pod's status, beside its log. */ -}}
  {{- $_ := set $container "terminationMessagePolicy" "FallbackToLogsOnError" -}}
  {{- toYaml $pod -}}
{{- end -}}
