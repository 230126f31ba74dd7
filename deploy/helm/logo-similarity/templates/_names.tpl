{{- define "logo-similarity.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* A number in full: values from the command line are floats, which Go prints as 2e+07. */}}
{{- define "logo-similarity.text" -}}
{{- if and (kindIs "float64" .) (eq . (floor .)) }}{{ int64 . }}{{ else }}{{ . }}{{ end }}
{{- end }}

{{/* Megabytes of the catalog: mapped by all workers, counted once. */}}
{{- define "logo-similarity.catalogMegabytes" -}}
{{ div (mul (int64 .Values.catalog.logos) (int64 .Values.catalog.bytesPerLogo)) 1000000 }}
{{- end }}

{{/* Search threads of each worker. */}}
{{- define "logo-similarity.threads" -}}
{{ div (int64 .Values.cores) (int64 .Values.workers) | max 1 }}
{{- end }}

{{/* Memory to request: the part that workers share, plus the part of each worker. */}}
{{- define "logo-similarity.megabytes" -}}
{{- $memory := .Values.memory }}
{{- $threads := include "logo-similarity.threads" . | int64 }}
{{- $worker := add (int64 $memory.workerMegabytes) (mul $threads (int64 $memory.decoderMegabytes)) }}
{{- $shared := add (int64 (include "logo-similarity.catalogMegabytes" .)) (int64 $memory.sharedMegabytes) }}
{{- add $shared (mul (int64 .Values.workers) $worker) }}
{{- end }}

{{/* Memory limit: a quarter more for the next version, which is opened beside this one; the process that tries it; and
     requests in progress: heads and bodies in every worker, one image in every thread. */}}
{{- define "logo-similarity.limitMegabytes" -}}
{{- $images := mul (int64 .Values.workers) (int64 (include "logo-similarity.threads" .)) }}
{{- $decoding := get .Values.settings "LOGO_DECODE_MEMORY" | default 256000000 | int64 }}
{{- $upload := get .Values.settings "LOGO_MAX_UPLOAD_BYTES" | default 25000000 | int64 }}
{{- $image := div (add $decoding (mul 2 $upload) 112000000) 1000000 }}
{{- $bodies := max $upload (get .Values.settings "LOGO_MAX_INFLIGHT_BYTES" | default 64000000 | int64) }}
{{- $connections := get .Values.settings "LOGO_MAX_CONNECTIONS" | default 512 | int64 }}
{{- $head := get .Values.settings "LOGO_MAX_HEAD_BYTES" | default 65536 | int64 }}
{{- $requests := div (add $bodies (mul $connections $head)) 1000000 | add1 }}
{{- $burst := add (mul $images $image) (mul (int64 .Values.workers) $requests) }}
{{- add (div (mul 5 (int64 (include "logo-similarity.megabytes" .))) 4) $burst (int64 .Values.memory.workerMegabytes) }}
{{- end }}

{{- define "logo-similarity.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (ternary .Release.Name "default" .Values.serviceAccount.create) }}
{{- end }}

{{- define "logo-similarity.image" -}}
{{ printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- end }}

{{- define "logo-similarity.podSecurity" -}}
{runAsNonRoot: true, runAsUser: 10001, runAsGroup: 10001, fsGroup: 10001, seccompProfile: {type: RuntimeDefault}}
{{- end }}

{{- define "logo-similarity.containerSecurity" -}}
{allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
{{- end }}

{{/* The claim that no two pods may use; empty: every pod can be one of several. */}}
{{- define "logo-similarity.claim" -}}
{{- range $name := list "watches" "primary" }}
{{- if (get $.Values $name).claimName }}
{{- if or $.Values.autoscaling.enabled (gt (int64 $.Values.replicas) 1) }}
{{- fail (printf "%s.claimName: no two pods may use it; set replicas: 1 and autoscaling.enabled: false, or leave it empty" $name) }}
{{- end }}
{{- (get $.Values $name).claimName }}
{{- end }}
{{- end }}
{{- end }}

{{- define "logo-similarity.environment" -}}
- {name: LOGO_CATALOGS, value: /catalogs}
- {name: {{ ternary "LOGO_PUBLISH_URL" "LOGO_CATALOG_URL" (not (empty .Values.primary.claimName)) }}, value: {{ .Values.catalog.url | quote }}}
{{- with .Values.catalog.primaryUrl }}
- {name: LOGO_PRIMARY_URL, value: {{ . | quote }}}
{{- end }}
{{- if .Values.watches.claimName }}
- {name: LOGO_WATCHES_DIR, value: /watches}
{{- end }}
{{- include "logo-similarity.stores" (dict "values" .Values "secret" .Values.s3.secretName) }}
- {name: LOGO_WORKERS, value: {{ int64 .Values.workers | quote }}}
- {name: LOGO_THREADS, value: {{ include "logo-similarity.threads" . | quote }}}
- {name: LOGO_DRAIN_SECONDS, value: {{ int64 .Values.drainSeconds | quote }}}
- {name: LOGO_GRACEFUL_SECONDS, value: {{ int64 .Values.gracefulSeconds | quote }}}
{{- with .Values.trustedProxies }}
- {name: LOGO_TRUSTED_PROXIES, value: {{ . | quote }}}
{{- end }}
{{- with .Values.usage.secretName }}
- name: LOGO_USAGE_URL
  valueFrom: {secretKeyRef: {name: {{ . | quote }}, key: url}}
{{- end }}
{{- with .Values.keys.url }}
- {name: LOGO_KEYS, value: {{ . | quote }}}
{{- end }}
{{- if .Values.keys.secretName }}
- {name: LOGO_API_KEYS_FILE, value: /keys/keys}
{{- end }}
{{- if .Values.keys.anonymous }}
- {name: LOGO_ALLOW_ANONYMOUS, value: "true"}
{{- else if not (or .Values.keys.url .Values.keys.secretName) }}
{{- fail "no API keys: set keys.url or keys.secretName, or keys.anonymous=true to let anyone search" }}
{{- end }}
{{- include "logo-similarity.furtherEnvironment" . }}
{{- end }}

{{/* The bucket and the index server, with the secret of the credentials. */}}
{{- define "logo-similarity.stores" }}
- {name: LOGO_S3_BUCKET, value: {{ .values.s3.bucket | quote }}}
- {name: LOGO_S3_PREFIX, value: {{ .values.s3.prefix | quote }}}
- {name: LOGO_S3_REGION, value: {{ .values.s3.region | quote }}}
{{- with .values.s3.endpoint }}
- {name: LOGO_S3_ENDPOINT, value: {{ . | quote }}}
{{- end }}
{{- with .values.s3.publicEndpoint }}
- {name: LOGO_S3_PUBLIC_ENDPOINT, value: {{ . | quote }}}
{{- end }}
{{- with .secret }}
- name: LOGO_S3_ACCESS_KEY
  valueFrom: {secretKeyRef: {name: {{ . | quote }}, key: access-key}}
- name: LOGO_S3_SECRET_KEY
  valueFrom: {secretKeyRef: {name: {{ . | quote }}, key: secret-key}}
{{- end }}
{{- with .values.index }}
{{- if .url }}
- {name: LOGO_INDEX_URL, value: {{ .url | quote }}}
{{- with .database }}
- {name: LOGO_INDEX_DATABASE, value: {{ . | quote }}}
{{- end }}
{{- with .kind }}
- {name: LOGO_INDEX_KIND, value: {{ . | quote }}}
{{- end }}
{{- with .seconds }}
- {name: LOGO_INDEX_SECONDS, value: {{ include "logo-similarity.text" . | quote }}}
{{- end }}
{{- with .tokenSecretName }}
- name: LOGO_INDEX_TOKEN
  valueFrom: {secretKeyRef: {name: {{ . | quote }}, key: token}}
{{- end }}
{{- if .caSecretName }}
- {name: LOGO_INDEX_CA, value: /index-ca/ca.crt}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "logo-similarity.furtherEnvironment" }}
{{- range $name, $value := .Values.settings }}
- {name: {{ $name }}, value: {{ include "logo-similarity.text" $value | quote }}}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}
