{{/* Whether Flux looks for new tags of the image. */}}
{{- define "app.scanned" -}}
{{- if (.Values.image | default dict).imagePolicy }}true{{ end -}}
{{- end -}}

{{/* They stand beside Flux, not beside the application, so two releases may want one name. */}}
{{- define "app.imagePolicyName" -}}
{{- (.Values.imagePolicy | default dict).name | default (.Facts.fullname) -}}
{{- end -}}
{{- define "app.imagePolicyNamespace" -}}
{{- (.Values.imagePolicy | default dict).namespace | default "flux-system" -}}
{{- end -}}
