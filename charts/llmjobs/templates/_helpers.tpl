{{- define "llmjobs.labels" -}}
app.kubernetes.io/name: llmjobs
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "llmjobs.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "llmjobs.podSecurity" -}}
runAsNonRoot: true
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "llmjobs.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "llmjobs.env" -}}
- name: POD_IP
  valueFrom: {fieldRef: {fieldPath: status.podIP}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: LLMJOBS_REDIS_URL
  valueFrom:
    secretKeyRef:
      name: {{ required "redis.existingSecret: name a Secret with the store's URL" .Values.redis.existingSecret }}
      key: {{ .Values.redis.secretKey }}
- name: LLMJOBS_LOG_FORMAT
  value: {{ .Values.logFormat | quote }}
- name: LLMJOBS_LOG_LEVEL
  value: {{ .Values.logLevel | quote }}
{{- end }}
