{{- /* Parts of pods: security, probes, environment, placement. */ -}}

{{- define "llmjobs.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ .user | default 65532 }}
runAsGroup: {{ .user | default 65532 }}
fsGroup: {{ .user | default 65532 }}
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "llmjobs.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- /* Probes of our own programs; takes the port's name. A process that answers lives, also while
the store is away; one that reaches the store is ready. */ -}}
{{- define "llmjobs.probes" -}}
startupProbe:
  httpGet: {path: /healthz, port: {{ . }}}
  periodSeconds: 1
  failureThreshold: 60
readinessProbe:
  httpGet: {path: /readyz, port: {{ . }}}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 2
livenessProbe:
  httpGet: {path: /healthz, port: {{ . }}}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- end }}

{{- /* Environment as a list in which each name is there once: the last one wins, at the place of
the first. Takes a list. */ -}}
{{- define "llmjobs.mergeEnv" -}}
{{- $last := dict }}
{{- range . }}{{ $_ := set $last .name . }}{{ end }}
{{- $merged := list }}
{{- range . }}
{{- if hasKey $last .name }}
{{- $merged = append $merged (get $last .name) }}
{{- $_ := unset $last .name }}
{{- end }}
{{- end }}
{{- toYaml $merged }}
{{- end }}

{{- /* Environment of our programs; takes root, env (the component's own) and extra. */ -}}
{{- define "llmjobs.env" -}}
{{- $common := include "llmjobs.commonEnv" .root | fromYamlArray }}
{{- include "llmjobs.mergeEnv" (concat $common .env .extra) }}
{{- end }}

{{- define "llmjobs.commonEnv" -}}
- name: POD_IP
  valueFrom: {fieldRef: {fieldPath: status.podIP}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: LLMJOBS_REDIS_URL
  valueFrom:
    secretKeyRef:
      name: {{ include "llmjobs.storeSecret" . }}
      key: {{ include "llmjobs.storeSecretKey" . }}
- name: LLMJOBS_PREFIX
  value: {{ .Values.redis.prefix | quote }}
- name: LLMJOBS_LOG_FORMAT
  value: {{ .Values.logFormat | quote }}
- name: LLMJOBS_LOG_LEVEL
  value: {{ .Values.logLevel | quote }}
{{- end }}

{{- define "llmjobs.mounts" -}}
- {name: tmp, mountPath: /tmp}
{{- if .Values.redis.external.caSecret }}
- {name: redis-ca, mountPath: /etc/llmjobs/redis, readOnly: true}
{{- end }}
{{- end }}

{{- define "llmjobs.volumes" -}}
- name: tmp
  emptyDir: {sizeLimit: 256Mi}
{{- with .Values.redis.external.caSecret }}
- name: redis-ca
  secret: {secretName: {{ . }}}
{{- end }}
{{- end }}

{{- define "llmjobs.podLabels" -}}
{{- $labels := include "llmjobs.selector" . | fromYaml }}
{{- $_ := set $labels "app.kubernetes.io/part-of" "llmjobs" }}
{{- toYaml (merge $labels .values.podLabels .root.Values.commonLabels) }}
{{- end }}

{{- /* A pod template's metadata; takes root, component, values, and port of its metrics. No version
is in it, so that an upgrade that changes nothing of the pods restarts none. */ -}}
{{- define "llmjobs.podMetadata" -}}
labels:
  {{- include "llmjobs.podLabels" . | nindent 2 }}
{{- $annotations := dict }}
{{- if and .port .root.Values.monitoring.scrapeAnnotations }}
{{- $annotations = dict "prometheus.io/scrape" "true" "prometheus.io/port" (toString .port) }}
{{- end }}
{{- if .root.Values.redis.external.url }}
{{- $_ := set $annotations "llmjobs.dev/store-checksum" (sha256sum .root.Values.redis.external.url) }}
{{- end }}
{{- with merge (deepCopy .values.podAnnotations) $annotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* Where a pod runs; takes root, component and values. */ -}}
{{- define "llmjobs.placement" -}}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- $own := dict "labelSelector" (dict "matchLabels" (include "llmjobs.selector" . | fromYaml)) "matchLabelKeys" (list "pod-template-hash") }}
{{- with .values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range . }}
  - {{ toYaml (hasKey . "labelSelector" | ternary . (merge (deepCopy .) $own)) | nindent 4 | trim }}
  {{- end }}
{{- end }}
{{- end }}
