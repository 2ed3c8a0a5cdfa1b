{{- /* Names and labels. */ -}}

{{- define "llmjobs.name" -}}
{{ .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "llmjobs.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains .Chart.Name .Release.Name -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- /* Labels that select a component's pods; they never change. Takes root and component. */ -}}
{{- define "llmjobs.selector" -}}
app.kubernetes.io/name: {{ include "llmjobs.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- /* All labels of an object. Takes root and component. */ -}}
{{- define "llmjobs.labels" -}}
{{ include "llmjobs.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: llmjobs
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* Name and labels of a component's object; takes root, component, and name where another. */ -}}
{{- define "llmjobs.metadata" -}}
name: {{ .name | default (printf "%s-%s" (include "llmjobs.fullname" .root) .component) }}
namespace: {{ .root.Release.Namespace }}
labels: {{- include "llmjobs.labels" . | nindent 2 }}
{{- end }}

{{- /* An image; takes root and image. */ -}}
{{- define "llmjobs.image" -}}
{{- $tagged := printf "%s:%s" .image.repository (.image.tag | default .root.Chart.AppVersion) -}}
{{- if .image.digest }}{{ printf "%s@%s" $tagged .image.digest }}{{ else }}{{ $tagged }}{{ end }}
{{- end }}

{{- /* The account of a component; takes root, component and account (its values). */ -}}
{{- define "llmjobs.account" -}}
{{- $made := printf "%s-%s" (include "llmjobs.fullname" .root) .component -}}
{{- if .account.create }}{{ .account.name | default $made }}
{{- else }}{{ required (printf "%s.serviceAccount.name: name the account to use" .component) .account.name }}
{{- end }}
{{- end }}

{{- /* Namespaces that are looked after, as a YAML list; empty for all. */ -}}
{{- define "llmjobs.namespaces" -}}
{{- $names := .Values.watchNamespaces }}
{{- if and .Values.rbac.namespaced (not $names) }}{{ $names = list .Release.Namespace }}{{ end }}
{{- toYaml $names }}
{{- end }}
