#!/usr/bin/env bash
# Compares two photos: a signed and, if wanted, encrypted call to Visavis with openssl 3 and curl.
#
#     ./call.sh A.jpg B.jpg [--encrypt]
#
# The keys come from the environment, see ../README.md. The response's JSON goes to stdout. Exit
# code: 0 when resultStatus is S, 1 when it is F or U, 2 if no valid response arrived.

set -euo pipefail
# Lengths and patterns count bytes.
export LC_ALL=C
# Keys lie in the temporary folder for as long as this runs.
umask 077

readonly uri=/api/v1/zoloz/facecompare/compare

die() {
  printf 'call.sh: %s\n' "$1" >&2
  exit 2
}

# key NAME KIND FILE: the key in the variable NAME as DER, checked. Builtins only handle its text,
# so that it never shows in the process list.
key() {
  [[ -n ${!1:-} ]] || die "$1 is not set: export it from the client file, see README.md"
  local options=(-inform DER -noout -in "$3")
  [[ $2 == private ]] || options+=(-pubin)
  { printf '%s' "${!1}" | base64 -d >"$3" && openssl pkey "${options[@]}"; } 2>/dev/null ||
    die "$1 is no $2 key: copy it whole from the client file"
}

# base64 on one line, on every platform: only GNU's has -w0.
base64_line() { base64 | tr -d '\n'; }

# Of the base64 alphabet only + / = need percent-encoding; some parsers read a bare + as a space and
# drop a bare =.
percent_encode() { sed -e 's/+/%2B/g' -e 's,/,%2F,g' -e 's/=/%3D/g'; }
percent_decode() { sed -e 's/%2[Bb]/+/g' -e 's,%2[Ff],/,g' -e 's/%3[Dd]/=/g'; }

# A random UUID without hyphens, as bizId is at most 32 bytes by the documents.
uuid() {
  local hex
  hex=$(openssl rand -hex 16)
  printf '%s' "${hex:0:12}4${hex:13:3}8${hex:17}"
}

# By way of files, as photos are too big for an argument list.
request_json() {
  printf '{"bizId":"%s","face1":{"content":"' "$(uuid)"
  base64_line <"$1"
  printf '"},"face2":{"content":"'
  base64_line <"$2"
  printf '"}}'
}

# content_to_be_signed TIME BODY_FILE, the body byte for byte as it is on the wire.
content_to_be_signed() {
  printf 'POST %s\n%s.%s.' "$uri" "$VISAVIS_CLIENT_ID" "$1"
  cat "$2"
}

# sign TIME BODY_FILE
sign() {
  content_to_be_signed "$1" "$2" | openssl dgst -sha256 -keyform DER -sign "$dir/merchant.der" |
    base64_line | percent_encode
}

# verify SIGNATURE_HEADER TIME BODY_FILE
verify() {
  local value=${1##*signature=}
  printf '%s' "${value%%,*}" | percent_decode | base64 -d >"$dir/signature" || return
  content_to_be_signed "$2" "$3" |
    openssl dgst -sha256 -keyform DER -verify "$dir/server.der" -signature "$dir/signature"
}

# The AES key for the server alone: RSAES-PKCS1-v1_5.
wrap() {
  openssl pkeyutl -encrypt -pubin -keyform DER -inkey "$dir/server.der" \
    -pkeyopt rsa_padding_mode:pkcs1 -in "$dir/aes.key" | base64_line | percent_encode
}

# AES-256-ECB with PKCS#7 padding; -d as argument decrypts. openssl takes the key as an argument
# only, where other users of this machine can see it for a moment: it is random and for this call
# alone.
aes() { openssl enc "$@" -aes-256-ecb -K "$(od -An -v -tx1 "$dir/aes.key" | tr -d ' \n')"; }

# The last value of a response's header, whose name comes in lower case over HTTP/2.
header() {
  awk -v name="$1:" 'tolower($1) == name { sub(/^[^:]*: */, ""); sub(/\r$/, ""); value = $0 }
    END { print value }' "$dir/head"
}

encrypted=no photos=()
for argument in "$@"; do
  if [[ $argument == --encrypt ]]; then encrypted=yes; else photos+=("$argument"); fi
done
[[ ${#photos[@]} -eq 2 ]] || die 'usage: call.sh A.jpg B.jpg [--encrypt]'
for photo in "${photos[@]}"; do
  [[ -f $photo && -r $photo ]] || die "$photo cannot be read: check the path"
done

[[ -n ${VISAVIS_CLIENT_ID:-} ]] || die 'VISAVIS_CLIENT_ID is not set: export it from the client file'
url=${VISAVIS_URL:-http://127.0.0.1:8080}
url=${url%/}$uri

dir=$(mktemp -d) || die 'no temporary folder: check TMPDIR'
trap 'rm -rf -- "$dir"' EXIT
key VISAVIS_MERCHANT_PRIVATE_KEY private "$dir/merchant.der"
key VISAVIS_SERVER_PUBLIC_KEY public "$dir/server.der"

request_json "${photos[@]}" >"$dir/body"
time=$(date -u +%Y-%m-%dT%H:%M:%S+0000)
headers=(-H "Client-Id: $VISAVIS_CLIENT_ID" -H "Request-Time: $time")
if [[ $encrypted == yes ]]; then # first, so that the signature covers what is sent
  openssl rand 32 >"$dir/aes.key"
  mv "$dir/body" "$dir/plain"
  aes <"$dir/plain" | base64_line >"$dir/body"
  headers+=(-H 'Content-Type: text/plain; charset=UTF-8')
  wrapped=$(wrap) || die 'the AES key cannot be wrapped: is this openssl 3?'
  headers+=(-H "Encrypt: algorithm=RSA_AES, symmetricKey=$wrapped")
else
  headers+=(-H 'Content-Type: application/json; charset=UTF-8')
fi
signature=$(sign "$time" "$dir/body") || die 'the request cannot be signed: is this openssl 3?'
headers+=(-H "Signature: algorithm=RSA256, signature=$signature")

status=$(curl -sS --max-time 30 -D "$dir/head" -o "$dir/response" -w '%{http_code}' "${headers[@]}" \
  --data-binary "@$dir/body" "$url") || die "$url gives no response: check VISAVIS_URL and the server"
[[ $status == 200 ]] || die "$url returns HTTP $status: is a proxy in between?"

verify "$(header signature)" "$(header response-time)" "$dir/response" >"$dir/verdict" 2>&1 ||
  die "the response's signature does not verify: take VISAVIS_CLIENT_ID and VISAVIS_SERVER_PUBLIC_KEY \
from the same client file"

# A refusal can be in clear even if the request was not. What is encrypted is so under the key that
# was sent: Visavis always reuses it, and the own copy of the response need not be unwrapped.
if [[ -n $(header encrypt) ]]; then
  json=$(base64 -d <"$dir/response" | aes -d) ||
    die "the response is signed but does not decrypt: compare the server's version"
else
  json=$(<"$dir/response")
fi
[[ $json =~ \"resultStatus\":\"([SFU])\" ]] ||
  die "the response is signed but no result: compare the server's version"
printf '%s\n' "$json"
[[ ${BASH_REMATCH[1]} == S ]]
