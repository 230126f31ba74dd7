#!/bin/sh
# Creates the bucket and the account of the service. Runs at every start, so each step can be repeated.
set -eu
mc --quiet alias set store http://minio:9000 "$MINIO_ROOT_USER" "$MINIO_ROOT_PASSWORD"
mc --quiet mb --ignore-existing store/logos
mc --quiet admin policy create store bucket-logos /setup/policy.json
mc --quiet admin user add store "$S3_ACCESS_KEY" "$S3_SECRET_KEY"
# attach fails if the policy is attached already.
mc --quiet admin policy attach store bucket-logos --user "$S3_ACCESS_KEY" ||
  case "$(mc --quiet admin user info store "$S3_ACCESS_KEY")" in
    *bucket-logos*) ;;
    *) exit 1 ;;
  esac
