{{- /* Where the store's URL is. */ -}}

{{- define "llmjobs.storeSecret" -}}
{{- $external := .Values.redis.external -}}
{{- if $external.existingSecret }}{{ $external.existingSecret }}
{{- else if .Values.valkey.enabled }}{{ .Values.valkey.auth.existingSecret | default (printf "%s-valkey" (include "llmjobs.fullname" .)) }}
{{- else }}{{ printf "%s-redis" (include "llmjobs.fullname" .) }}
{{- end }}
{{- end }}

{{- define "llmjobs.storeSecretKey" -}}
{{- if .Values.redis.external.existingSecret }}{{ .Values.redis.external.secretKey }}{{ else }}url{{ end }}
{{- end }}

{{- /* The URL of the Valkey that the chart runs; takes root and password. */ -}}
{{- define "llmjobs.valkeyURL" -}}
redis://:{{ .password }}@{{ include "llmjobs.fullname" .root }}-valkey.{{ .root.Release.Namespace }}.svc:6379/0
{{- end }}
