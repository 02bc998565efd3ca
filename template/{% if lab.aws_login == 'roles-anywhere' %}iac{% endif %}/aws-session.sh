#!/bin/sh
# Get credentials for AWS with a certificate (IAM Roles Anywhere, CreateSession), and print them as credential_process wants them.
# https://docs.aws.amazon.com/rolesanywhere/latest/userguide/authentication-sign-process.html
#
# AWS_CERTIFICATE and AWS_PRIVATE_KEY name files; AWS_TRUST_ANCHOR_ARN, AWS_PROFILE_ARN and AWS_ROLE_ARN_OF_JOB say who is asked for what.
set -eu
umask 077
: "${AWS_REGION:?}" "${AWS_TRUST_ANCHOR_ARN:?}" "${AWS_PROFILE_ARN:?}" "${AWS_ROLE_ARN_OF_JOB:?}"
: "${AWS_CERTIFICATE:?is the file with the certificate: a protected variable of the project, of the type File}"
: "${AWS_PRIVATE_KEY:?is the file with its key: a protected variable of the project, of the type File}"
host=rolesanywhere.$AWS_REGION.amazonaws.com
body='{"durationSeconds":3600}'

encoded() { printf %s "$1" | sed -e 's|:|%3A|g' -e 's|/|%2F|g'; }
hash() { printf %s "$1" | openssl dgst -sha256 -r | cut -d ' ' -f 1; }
# AWS names a certificate by its number in decimal; it has up to 20 bytes, more than the shell counts.
decimal() {
  echo "$1" | awk '{
    result = "0"
    for (place = 1; place <= length($0); place++) {
      carry = index("0123456789ABCDEF", substr($0, place, 1)) - 1; digits = ""
      for (i = length(result); i > 0; i--) {
        carry += substr(result, i, 1) * 16; digits = carry % 10 digits; carry = int(carry / 10)
      }
      while (carry > 0) { digits = carry % 10 digits; carry = int(carry / 10) }
      sub(/^0+/, "", digits); result = digits == "" ? "0" : digits
    }
    print result
  }'
}

certificate=$(openssl x509 -in "$AWS_CERTIFICATE" -outform DER | openssl base64 -A)
serial=$(decimal "$(openssl x509 -in "$AWS_CERTIFICATE" -noout -serial | cut -d = -f 2)")
kind=RSA
if openssl pkey -in "$AWS_PRIVATE_KEY" -noout -text | grep -q 'ASN1 OID'; then kind=ECDSA; fi
moment=$(date -u +%Y%m%dT%H%M%SZ)
scope=${moment%T*}/$AWS_REGION/rolesanywhere/aws4_request
query="profileArn=$(encoded "$AWS_PROFILE_ARN")&roleArn=$(encoded "$AWS_ROLE_ARN_OF_JOB")&trustAnchorArn=$(encoded "$AWS_TRUST_ANCHOR_ARN")"
signed='content-type;host;x-amz-date;x-amz-x509'

request="POST
/sessions
$query
content-type:application/json
host:$host
x-amz-date:$moment
x-amz-x509:$certificate

$signed
$(hash "$body")"
text="AWS4-X509-$kind-SHA256
$moment
$scope
$(hash "$request")"
signature=$(printf %s "$text" | openssl dgst -sha256 -sign "$AWS_PRIVATE_KEY" -hex | sed 's/.*= *//')

answer=$(curl -sS --max-time 30 "https://$host/sessions?$query" \
  -H 'Content-Type: application/json' -H "X-Amz-Date: $moment" -H "X-Amz-X509: $certificate" \
  -H "Authorization: AWS4-X509-$kind-SHA256 Credential=$serial/$scope, SignedHeaders=$signed, Signature=$signature" \
  --data "$body")
value() { printf %s "$answer" | tr -d '\n' | sed -n "s/.*\"$1\" *: *\"\([^\"]*\)\".*/\1/p"; }
if [ -z "$(value sessionToken)" ]; then
  echo "AWS gives no session for this certificate: $answer" >&2
  exit 1
fi
printf '{"Version":1,"AccessKeyId":"%s","SecretAccessKey":"%s","SessionToken":"%s","Expiration":"%s"}\n' \
  "$(value accessKeyId)" "$(value secretAccessKey)" "$(value sessionToken)" "$(value expiration)"
