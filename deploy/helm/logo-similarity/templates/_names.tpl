{{- define "logo-similarity.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Megabytes of the catalog: mapped by all workers, counted once. */}}
{{- define "logo-similarity.catalogMegabytes" -}}
{{ div (mul (int .Values.catalog.logos) (int .Values.catalog.bytesPerLogo)) 1000000 }}
{{- end }}

{{/* Memory to ask for: the catalog, and what each worker has of its own. */}}
{{- define "logo-similarity.megabytes" -}}
{{ add (int (include "logo-similarity.catalogMegabytes" .)) (mul (int .Values.workers) (int .Values.workerMegabytes)) }}
{{- end }}

{{- define "logo-similarity.environment" -}}
- {name: LOGO_CATALOGS, value: /catalogs}
- {name: LOGO_CATALOG_URL, value: {{ .Values.catalog.url | quote }}}
- {name: LOGO_S3_BUCKET, value: {{ .Values.s3.bucket | quote }}}
- {name: LOGO_S3_PREFIX, value: {{ .Values.s3.prefix | quote }}}
- {name: LOGO_S3_REGION, value: {{ .Values.s3.region | quote }}}
{{- with .Values.s3.endpoint }}
- {name: LOGO_S3_ENDPOINT, value: {{ . | quote }}}
{{- end }}
{{- with .Values.s3.publicEndpoint }}
- {name: LOGO_S3_PUBLIC_ENDPOINT, value: {{ . | quote }}}
{{- end }}
- name: LOGO_S3_ACCESS_KEY
  valueFrom: {secretKeyRef: {name: {{ .Values.s3.secretName | quote }}, key: access-key}}
- name: LOGO_S3_SECRET_KEY
  valueFrom: {secretKeyRef: {name: {{ .Values.s3.secretName | quote }}, key: secret-key}}
- {name: LOGO_WORKERS, value: {{ .Values.workers | quote }}}
{{- with .Values.keys.url }}
- {name: LOGO_KEYS, value: {{ . | quote }}}
{{- end }}
{{- if .Values.keys.secretName }}
- {name: LOGO_API_KEYS_FILE, value: /keys/keys}
{{- end }}
{{- if .Values.keys.anonymous }}
- {name: LOGO_ALLOW_ANONYMOUS, value: "true"}
{{- else if not (or .Values.keys.url .Values.keys.secretName) }}
{{- fail "who may search? Set keys.url, keys.secretName, or keys.anonymous=true" }}
{{- end }}
{{- range $name, $value := .Values.settings }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}
