{{- /* What the schema can't say: values that contradict each other. Included once. */ -}}
{{- define "llmjobs.checks" -}}
{{- $external := or .Values.redis.external.url .Values.redis.external.existingSecret }}
{{- if and (not $external) (not .Values.valkey.enabled) }}
{{- fail "no store: set redis.external.existingSecret (or url) to your Redis 7+ or Valkey 8+, or valkey.enabled=true to begin with one of ours" }}
{{- end }}
{{- if and $external .Values.valkey.enabled }}
{{- fail "two stores: set redis.external or valkey.enabled, not both" }}
{{- end }}
{{- if and (eq .Values.gateway.auth "none") (not .Values.gateway.allowAnonymous) }}
{{- fail "gateway.auth=none lets everybody in who reaches the gateway: also set gateway.allowAnonymous=true if that is meant" }}
{{- end }}
{{- if and (eq .Values.gateway.auth "apikeys") (not .Values.gateway.apiKeysSecret) }}
{{- fail "gateway.auth=apikeys: name a Secret with keys.json in gateway.apiKeysSecret" }}
{{- end }}
{{- if and .Values.rbac.create .Values.rbac.namespaced (eq .Values.gateway.auth "kubernetes") (not .Values.rbac.authDelegatorExists) }}
{{- fail "rbac.namespaced with gateway.auth=kubernetes: asking the API server about tokens is a right outside namespaces; use gateway.auth=apikeys, or have the gateway's account bound to the ClusterRole system:auth-delegator and set rbac.authDelegatorExists=true" }}
{{- end }}
{{- if and .Values.flower.enabled (not .Values.flower.auth.existingSecret) }}
{{- fail "flower.enabled: name a Secret with user:password in flower.auth.existingSecret" }}
{{- end }}
{{- if and .Values.gateway.httpRoute.enabled (not .Values.gateway.httpRoute.parentRefs) }}
{{- fail "gateway.httpRoute.enabled: name the Gateway in gateway.httpRoute.parentRefs" }}
{{- end }}
{{- if and .Values.gateway.ingress.enabled (not .Values.gateway.ingress.hosts) }}
{{- fail "gateway.ingress.enabled: give gateway.ingress.hosts" }}
{{- end }}
{{- end }}
