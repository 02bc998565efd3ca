{{- define "app.check.image" -}}
{{- $image := .Values.image | default dict }}
{{- if not $image.repository }}
image.repository is empty: say which image to run, such as registry.lab/homelab/demo.
{{- if $image.imagePolicy }}
image.imagePolicy is on, but without image.repository Flux has nothing to scan: set image.repository, or image.imagePolicy: false.
{{- end }}
{{- end }}
{{- if and (not (include "app.tag" .)) (not $image.digest) }}
image.tag is empty: give a tag such as "1.0.0", or a digest in image.digest. An image without either would be "latest", and change behind your back.
{{- end }}
{{- if kindIs "float64" $image.tag }}
{{- if ne $image.tag (floor $image.tag) }}
image.tag is the number {{ $image.tag }}: YAML reads 1.10 as 1.1, so the tag may not be the one you wrote. Put it in quotes: tag: "1.10".
{{- end }}
{{- end }}
{{- $policy := .Values.imagePolicy | default dict }}
{{- if and $policy.numerical $policy.alphabetical }}
imagePolicy.numerical and imagePolicy.alphabetical are both set: tags can be put in one order only. Remove one.
{{- end }}
{{- $filter := $policy.filterTags | default dict }}
{{- if and $filter.extract (not $filter.pattern) }}
imagePolicy.filterTags.extract is {{ $filter.extract | quote }}, but imagePolicy.filterTags.pattern is empty: there is nothing to extract from. Set the pattern.
{{- end }}
{{- end -}}
