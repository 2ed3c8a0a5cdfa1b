{{- /* Lets an account do what a file of rules says. Takes root, component, name, account, file, and
namespaces: Roles there, or one ClusterRole where it is empty. */ -}}
{{- define "llmjobs.grant" -}}
{{- $rules := (.root.Files.Get (printf "files/rbac/%s.yaml" .file) | fromYaml).rules }}
{{- $call := . }}
{{- if .namespaces }}
{{- range .namespaces }}
---
{{ include "llmjobs.role" (dict "call" $call "kind" "Role" "namespace" . "rules" $rules) }}
{{- end }}
{{- else }}
---
{{ include "llmjobs.role" (dict "call" $call "kind" "ClusterRole" "namespace" "" "rules" $rules) }}
{{- end }}
{{- end }}

{{- define "llmjobs.role" -}}
{{- $name := .call.name }}
{{- if not .namespace }}{{ $name = printf "%s-%s" .call.root.Release.Namespace $name }}{{ end }}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ .kind }}
metadata:
  name: {{ $name }}
  {{- with .namespace }}
  namespace: {{ . }}
  {{- end }}
  labels: {{- include "llmjobs.labels" .call | nindent 4 }}
rules: {{- toYaml .rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ .kind }}Binding
metadata:
  name: {{ $name }}
  {{- with .namespace }}
  namespace: {{ . }}
  {{- end }}
  labels: {{- include "llmjobs.labels" .call | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ .kind }}
  name: {{ $name }}
subjects:
  - kind: ServiceAccount
    name: {{ .call.account }}
    namespace: {{ .call.root.Release.Namespace }}
{{- end }}

{{- /* A component's account; takes root, component and account (its values). */ -}}
{{- define "llmjobs.serviceAccount" -}}
{{- if .account.create }}
---
apiVersion: v1
kind: ServiceAccount
metadata:
  {{- include "llmjobs.metadata" (merge (dict "name" (include "llmjobs.account" .)) .) | nindent 2 }}
  {{- with .account.annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: false
{{- end }}
{{- end }}

{{- /* A budget for a component with more than one replica; takes root, component and replicas. */ -}}
{{- define "llmjobs.disruptionBudget" -}}
{{- if and .root.Values.podDisruptionBudget.enabled (gt (int .replicas) 1) }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {{- include "llmjobs.metadata" . | nindent 2 }}
spec:
  maxUnavailable: {{ .root.Values.podDisruptionBudget.maxUnavailable }}
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels: {{- include "llmjobs.selector" . | nindent 6 }}
{{- end }}
{{- end }}
