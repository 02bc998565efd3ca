{{/* Whether Flux looks for new tags of the image. */}}
{{- define "app.scanned" -}}
  {{- if (.Values.image | default dict).imagePolicy }}true{{ end -}}
{{- end -}}

{{/* Whether the tag is 0.0.0, which stands for none yet: Flux writes the first one in its place. */}}
{{- define "app.waitsForImage" -}}
  {{- $image := .Values.image | default dict -}}
  {{- if and $image.imagePolicy (not $image.digest) (eq (toString $image.tag) "0.0.0") }}true{{ end -}}
{{- end -}}

{{/* They stand beside Flux, not beside the application, so two releases may want one name. */}}
{{- define "app.imagePolicyName" -}}
  {{- (.Values.imagePolicy | default dict).name | default (.Facts.fullname) -}}
{{- end -}}
{{- define "app.imagePolicyNamespace" -}}
  {{- (.Values.imagePolicy | default dict).namespace | default "flux-system" -}}
{{- end -}}
