{{- define "pool.name" -}}
{{ .Values.poolName | default .Release.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "pool.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: llmjobs
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* The values laid over those of the preset: what is empty is filled in. As YAML. */ -}}
{{- define "pool.values" -}}
{{- $preset := dict }}
{{- if .Values.preset }}
{{- $preset = .Files.Get (printf "presets/%s.yaml" .Values.preset) | fromYaml }}
{{- end }}
{{- $values := deepCopy .Values }}
{{- $given := .Values.spec.engine | default dict }}
{{- if and $preset $given (not (hasKey (dig "spec" "engine" dict $preset) (keys $given | first))) }}
{{- /* Another kind of engine than the preset's: nothing of that one stays. */ -}}
{{- $_ := unset $preset.spec "engine" }}
{{- end }}
{{- toYaml (merge $values $preset) }}
{{- end }}

{{- /* The name of the claim with the model cache. */ -}}
{{- define "pool.claim" -}}
{{ .Values.modelCache.existingClaim | default (printf "%s-models" (include "pool.name" .)) }}
{{- end }}

{{- /* What the engine mounts; takes root and values (merged). */ -}}
{{- define "pool.engineMounts" -}}
{{- if has .values.modelCache.type (list "claim" "emptyDir") }}
- {name: models, mountPath: /cache}
{{- end }}
{{- if .values.sharedMemory.size }}
- {name: shm, mountPath: /dev/shm}
{{- end }}
- {name: tmp, mountPath: /tmp}
{{- with .values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "pool.volumes" -}}
- name: tmp
  emptyDir: {}
{{- if eq .values.modelCache.type "claim" }}
- name: models
  persistentVolumeClaim: {claimName: {{ include "pool.claim" .root }}}
{{- else if eq .values.modelCache.type "emptyDir" }}
- name: models
  emptyDir:
    {{- with .values.modelCache.size }}
    sizeLimit: {{ . }}
    {{- else }} {}
    {{- end }}
{{- end }}
{{- with .values.sharedMemory.size }}
- name: shm
  emptyDir: {medium: Memory, sizeLimit: {{ . }}}
{{- end }}
{{- with .values.redisCaSecret }}
- name: redis-ca
  secret: {secretName: {{ . }}}
{{- end }}
{{- with .values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* The pod template that is laid over the operator's; takes root, values and engine (its kind). */ -}}
{{- define "pool.template" -}}
spec:
  securityContext:
    runAsUser: {{ .values.runAsUser | int64 }}
    runAsGroup: {{ .values.runAsUser | int64 }}
    fsGroup: {{ .values.runAsUser | int64 }}
    fsGroupChangePolicy: OnRootMismatch
  {{- range $name := list "nodeSelector" "affinity" "tolerations" "priorityClassName" "runtimeClassName" "imagePullSecrets" }}
  {{- with get $.values $name }}
  {{ $name }}: {{- kindIs "string" . | ternary (printf " %s" (toString .)) (toYaml . | nindent 4) }}
  {{- end }}
  {{- end }}
  {{- if ne .engine "external" }}
  initContainers:
    - name: engine
      volumeMounts: {{- include "pool.engineMounts" . | trim | nindent 8 }}
  {{- end }}
  containers:
    - name: worker
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        {{- if .values.redisCaSecret }}
        - {name: redis-ca, mountPath: /etc/llmjobs/redis, readOnly: true}
        {{- end }}
  volumes: {{- include "pool.volumes" . | trim | nindent 4 }}
{{- end }}

{{- /* More environment of the engine; takes root, values and engine. */ -}}
{{- define "pool.engineEnv" -}}
{{- if has .values.modelCache.type (list "claim" "emptyDir") }}
- {name: HOME, value: /cache}
- {name: HF_HOME, value: /cache/huggingface}
# Torch asks for the user's name, and the image has none for this number.
- {name: USER, value: llmjobs}
{{- end }}
{{- with .values.huggingFace.existingSecret }}
- name: HF_TOKEN
  valueFrom: {secretKeyRef: {name: {{ . }}, key: {{ $.values.huggingFace.secretKey }}}}
{{- end }}
{{- end }}
