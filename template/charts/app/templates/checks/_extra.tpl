{{/* Objects beside the release: Helm would name neither the entry nor what is missing in it. */}}
{{- define "app.check.extraObjects" -}}
  {{- range $i, $object := .Values.extraObjects }}
    {{- $text := tpl (kindIs "string" $object | ternary $object (toYaml $object)) $ }}
    {{- range splitList "\n---" (printf "\n%s" $text) }}
      {{- $read := fromYaml . }}
      {{- if $read.Error }}
        extraObjects[{{ $i }}] cannot be read: {{ $read.Error | replace "\n" " " }}. Write it as a map, or mend its text.
      {{- else if and $read (not (and $read.apiVersion $read.kind (or $read.items (kindIs "map" $read.metadata | ternary $read.metadata dict).name))) }}
        extraObjects[{{ $i }}] lacks apiVersion, kind or metadata.name: every object of Kubernetes has all three. Add what is missing.
      {{- else if $read }}
        {{- include "app.check.autoscaler" (dict "root" $ "at" (printf "extraObjects[%d]" $i) "object" $read) }}
        {{- include "app.check.job" (dict "root" $ "at" (printf "extraObjects[%d]" $i) "object" $read) }}
      {{- end }}
    {{- end }}
  {{- end }}
{{- end -}}

{{/* Two that set a number of pods undo each other. Takes root, at and object. */}}
{{- define "app.check.autoscaler" -}}
  {{- $root := .root }}
  {{- $object := .object }}
  {{- $target := ($object.spec | default dict).scaleTargetRef | default dict }}
  {{- $kind := $root.Facts.stateful | ternary "StatefulSet" "Deployment" }}
  {{- $scales := and (has $object.kind (list "HorizontalPodAutoscaler" "ScaledObject")) (eq (toString $target.name) $root.Facts.fullname) (eq (default "Deployment" $target.kind) $kind) }}
  {{- if and $scales (not (kindIs "invalid" $root.Values.replicas)) }}
    replicas is {{ $root.Values.replicas }}, and {{ .at }}, the {{ $object.kind }} {{ $object.metadata.name }}, sets the number of pods too: each release would set it back. Set replicas: null.
  {{- end }}
{{- end -}}

{{/* Kubernetes lets nothing change in a Job that is there. Takes root, at and object. */}}
{{- define "app.check.job" -}}
  {{- $root := .root }}
  {{- $object := .object }}
  {{- if and (eq (toString $object.kind) "Job") (kindIs "map" $object.metadata) (not (hasKey ($object.metadata.annotations | default dict) "helm.sh/hook")) }}
    {{- $image := $root.Values.image | default dict }}
    {{- $tag := include "app.text" ($image.digest | default $image.tag) }}
    {{- $pod := ((($object.spec | default dict).template | default dict).spec) | default dict }}
    {{- $moves := false }}
    {{- range concat ($pod.containers | default list) ($pod.initContainers | default list) }}
      {{- if and $tag (hasSuffix $tag (toString .image)) }}{{ $moves = true }}{{ end }}
    {{- end }}
    {{- if and $moves (not (contains ($tag | replace "." "-") ($object.metadata.name | replace "." "-"))) }}
      {{ .at }} is the Job {{ $object.metadata.name }} with this release's tag, {{ $tag }}: Kubernetes changes no Job, so each later version would fail with "field is immutable". Give it the annotations helm.sh/hook: pre-install,pre-upgrade and helm.sh/hook-delete-policy: before-hook-creation, as in "A job before each version" of the chart's README.md.
    {{- end }}
  {{- end }}
{{- end -}}
