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
{{- include "app.facts.volume" (list . "volumes" "storage" $values) -}}
{{- range $name, $volume := $values.items -}}
{{- if $volume -}}
{{- include "app.facts.volume" (list $ (printf "volumes.items.%s" $name) $name $volume) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $name, $config := .Values.configMaps -}}
{{- if and $config $config.mountPath -}}
{{- $source := dict "name" (include "app.child" (list $ $name)) -}}
{{- with $config.defaultMode }}{{ $_ := set $source "defaultMode" . }}{{ end -}}
{{- include "app.facts.volume" (list $
      (printf "configMaps.%s" $name)
      (include "app.fit" (list (printf "configmap-%s" $name) 63))
      (dict "configMap" $source "mountPath" $config.mountPath "readOnly" true)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* (list root path name volume): one volume of the above. The short form may name nothing, and is none. */}}
{{- define "app.facts.volume" -}}
{{- $facts := (index . 0).Facts -}}
{{- $name := index . 2 -}}
{{- $volume := index . 3 -}}
{{- $kinds := list -}}
{{- range list "nfs" "hostPath" "existingClaim" "claim" "emptyDir" "configMap" "secret" -}}
{{- if or (get $volume .) (kindIs "map" (get $volume .)) -}}{{- $kinds = append $kinds . -}}{{- end -}}
{{- end -}}
{{- if or $kinds $volume.mountPath (ne (index . 1) "volumes") -}}
{{- $kind := first $kinds | default "" -}}
{{- $source := dict -}}
{{- if eq $kind "existingClaim" -}}
{{- $source = dict "persistentVolumeClaim" (dict "claimName" $volume.existingClaim) -}}
{{- else if eq $kind "claim" -}}
{{- $source = dict "persistentVolumeClaim" (dict "claimName" (include "app.child" (list (index . 0) $name))) -}}
{{- else if $kind -}}
{{- $source = dict $kind (get $volume $kind) -}}
{{- end -}}
{{- $mounts := list -}}
{{- range (kindIs "string" $volume.mountPath | ternary (list $volume.mountPath) $volume.mountPath) -}}
{{- $parts := splitList ":" . -}}
{{- $mounts = append $mounts (dict "mountPath" (last $parts) "subPath" (initial $parts | join ":")) -}}
{{- end -}}
{{- $_ := set $facts "volumes" (append $facts.volumes (dict
      "at" (index . 1)
      "name" $name
      "kinds" $kinds
      "source" $source
      "mounts" $mounts
      "readOnly" ($volume.readOnly | default false)
      "claim" (has "claim" $kinds | ternary $volume.claim nil))) -}}
{{- end -}}
{{- end -}}

{{/* The pod's volumes. A StatefulSet makes the claims of its pods itself. */}}
{{- define "app.podVolumes" -}}
{{- range .Facts.volumes }}
{{- if not (and $.Facts.stateful .claim) }}
- name: {{ .name | quote }}
  {{- toYaml .source | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}

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
