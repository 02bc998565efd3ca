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
  {{- if $image.imagePolicy }}
    {{- include "app.check.scan" (dict "policy" $policy "filter" $filter) }}
  {{- end }}
{{- end -}}

{{/* What Flux would only report in its own status, long after the release. Takes policy and filter. */}}
{{- define "app.check.scan" -}}
  {{- $policy := .policy }}
  {{- $filter := .filter }}
  {{- if $policy.semver }}
    {{- /* One version, and one comparison, as github.com/Masterminds/semver reads them for Flux. */}}
    {{- $version := "v?[0-9xX*]+(\\.[0-9xX*]+){0,2}(-[0-9A-Za-z.-]+)?(\\+[0-9A-Za-z.-]+)?" }}
    {{- $one := printf "(=|==|!=|>|<|>=|=>|<=|=<|~|~>|\\^)?\\s*%s" $version }}
    {{- $whole := printf "^\\s*%s((\\s+|\\s*,\\s*|\\s+-\\s+|\\s*\\|\\|\\s*)%s)*\\s*$" $one $one }}
    {{- if not (regexMatch $whole $policy.semver) }}
      imagePolicy.semver is {{ $policy.semver | quote }}, which is no range of versions. Write one such as ">=1.0.0", "1.4.x" or ">=1.2.0 <2.0.0".
    {{- end }}
  {{- end }}
  {{- range $i, $pattern := prepend ($policy.exclusionList | default list) ($filter.pattern | default "") }}
    {{- /* An empty text matches "|x" wherever x can be read at all. */}}
    {{- if not (regexMatch (printf "|%s" $pattern) "") }}
      imagePolicy.{{ eq $i 0 | ternary "filterTags.pattern" (printf "exclusionList[%d]" (sub $i 1)) }} is {{ $pattern | quote }}, which is no regular expression (RE2). Look for a bracket too many or too few, and write \. for a dot.
    {{- end }}
  {{- end }}
  {{- range regexFindAll "\\$\\{?[A-Za-z_][A-Za-z0-9_]*" ($filter.extract | default "") -1 }}
    {{- $group := trimPrefix "$" . | trimPrefix "{" }}
    {{- if and $filter.pattern (not (contains (printf "<%s>" $group) $filter.pattern)) }}
      imagePolicy.filterTags.extract is {{ $filter.extract | quote }}, but imagePolicy.filterTags.pattern has no part called {{ $group | quote }}, so every tag would count as empty. Name it there: (?P<{{ $group }}>[0-9]+).
    {{- end }}
  {{- end }}
{{- end -}}
