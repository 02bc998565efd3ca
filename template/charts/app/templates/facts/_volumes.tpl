{{/*
.Facts.volumes: every volume of the pod, whichever value it comes from:

  at        the value's path, for messages
  name      the volume's name in the pod
  kinds     the kinds of source that the value names: one, if all is well
  source    what Kubernetes takes as the volume's source
  mounts    [{mountPath, subPath}]
  readOnly  for the mounts
  claim     the claim to make, where the kind is claim
*/}}
{{- define "app.facts.volumes" -}}
  {{- $_ := set .Facts "volumes" list -}}
  {{- $values := .Values.volumes | default dict -}}
  {{- if ne $values.enabled false -}}
    {{- include "app.facts.volume" (dict "root" . "at" "volumes" "name" "storage" "volume" $values) -}}
    {{- range $name, $volume := $values.items -}}
      {{- if $volume -}}
        {{- include "app.facts.volume" (dict "root" $ "at" (printf "volumes.items.%s" $name) "name" $name "volume" $volume) -}}
      {{- end -}}
    {{- end -}}
  {{- end -}}
  {{- range $name, $config := .Values.configMaps -}}
    {{- if and $config $config.mountPath -}}
      {{- $source := dict "name" (include "app.child" (dict "root" $ "suffix" $name)) -}}
      {{- with $config.defaultMode }}{{ $_ := set $source "defaultMode" . }}{{ end -}}
      {{- include "app.facts.volume" (dict
            "root" $
            "at" (printf "configMaps.%s" $name)
            "name" (include "app.fit" (dict "name" (printf "configmap-%s" $name) "limit" 63))
            "volume" (dict "configMap" $source "mountPath" $config.mountPath "readOnly" true)) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}

{{/* One volume of the above. The short form may name nothing, and is none. Takes root, at, name and volume. */}}
{{- define "app.facts.volume" -}}
  {{- $facts := .root.Facts -}}
  {{- $name := .name -}}
  {{- $volume := .volume -}}
  {{- $kinds := list -}}
  {{- range list "nfs" "hostPath" "existingClaim" "claim" "emptyDir" "configMap" "secret" -}}
    {{- if or (get $volume .) (kindIs "map" (get $volume .)) -}}{{- $kinds = append $kinds . -}}{{- end -}}
  {{- end -}}
  {{- if or $kinds $volume.mountPath (ne .at "volumes") -}}
    {{- $kind := first $kinds | default "" -}}
    {{- $source := dict -}}
    {{- if eq $kind "existingClaim" -}}
      {{- $source = dict "persistentVolumeClaim" (dict "claimName" $volume.existingClaim) -}}
    {{- else if eq $kind "claim" -}}
      {{- $source = dict "persistentVolumeClaim" (dict "claimName" (include "app.child" (dict "root" .root "suffix" $name))) -}}
    {{- else if $kind -}}
      {{- $source = dict $kind (get $volume $kind) -}}
    {{- end -}}
    {{- $mounts := list -}}
    {{- range (kindIs "string" $volume.mountPath | ternary (list $volume.mountPath) $volume.mountPath) -}}
      {{- $parts := splitList ":" . -}}
      {{- $mounts = append $mounts (dict "mountPath" (last $parts) "subPath" (initial $parts | join ":")) -}}
    {{- end -}}
    {{- $_ := set $facts "volumes" (append $facts.volumes (dict
          "at" .at
          "name" $name
          "kinds" $kinds
          "source" $source
          "mounts" $mounts
          "readOnly" ($volume.readOnly | default false)
          "claim" (has "claim" $kinds | ternary $volume.claim nil))) -}}
  {{- end -}}
{{- end -}}
