#!/usr/bin/env bash
# A creditor in curl and jq. QALQAN_URL, QALQAN_CLIENT and QALQAN_CLIENT_SECRET say who asks whom.
#
#   creditor.sh open IIN PHONE SUM [KEY]   prints the id; with the same KEY again it prints the same id
#   creditor.sh code ID                    sends the applicant a code
#   creditor.sh confirm|consent ID CODE    first, second consent
#   creditor.sh look ID                    answer, state and gates; pay out on "pass" alone
#   creditor.sh document ID                the signed document, checked against the node's keys
set -euo pipefail
: "${QALQAN_URL:=http://127.0.0.1:8080}" "${QALQAN_CLIENT:?}" "${QALQAN_CLIENT_SECRET:?}"
umask 077
cache=${XDG_RUNTIME_DIR:-${TMPDIR:-/tmp}}/qalqan-token-$(id -u)-$QALQAN_CLIENT
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Secrets go to curl by its standard input: arguments are there for everybody to read in ps.
token() {
    # Another minute at least: a token counts ten.
    if [ ! -O "$cache" ] || [ -z "$(find "$cache" -mmin -9)" ]; then
        printf 'user = "%s:%s"\n' "$QALQAN_CLIENT" "$QALQAN_CLIENT_SECRET" |
            curl -sS --fail-with-body -K - -d grant_type=client_credentials "$QALQAN_URL/oauth2/token" |
            jq -er .access_token >"$work/token"
        mv "$work/token" "$cache"
    fi
    cat "$cache"
}

# ask METHOD PATH [BODY [KEY]]: with a key a request is done once, however often it is sent; without one it is sent once.
ask() {
    local method=$1 path=$2 body=${3:-} key=${4:-} status tries=1
    if [ -n "$key" ] || [ "$method" = GET ]; then tries=5; fi
    for try in $(seq "$tries"); do
        [ "$try" = 1 ] || sleep $((try - 1))
        status=$({
            printf 'header = "Authorization: Bearer %s"\n' "$(token)"
            if [ -n "$key" ]; then printf 'header = "Idempotency-Key: %s"\n' "$key"; fi
            if [ -n "$body" ]; then
                printf '%s' "$body" >"$work/body"
                printf 'header = "Content-Type: application/json"\ndata = "@%s"\n' "$work/body"
            fi
        } | curl -sS -K - -X "$method" -m 15 -o "$work/answer" -w '%{http_code}' "$QALQAN_URL$path") || status=000
        case $status in
            2*) cat "$work/answer"; return ;;
            401) rm -f "$cache" ;;      # it counts no longer
            000 | 503) ;;               # away, or it did not say: it may be done
            *) break ;;
        esac
    done
    [ "$status" = 000 ] || jq -r '.detail // .title' "$work/answer" >&2
    echo "$method $path: $status" >&2
    return 1
}

new_key() { cat /proc/sys/kernel/random/uuid; }

# The document is a JWS (RFC 7515) with EdDSA; openssl checks it with the key of its kid.
document() {
    local jws signed x
    jws=$(ask GET "/v1/loans/$1/document")
    signed=${jws%.*}
    from_base64url "${signed%%.*}" >"$work/header"
    x=$(ask GET /v1/loans/keys | jq -er --arg kid "$(jq -er .kid "$work/header")" '.keys[] | select(.kid == $kid and .alg == "EdDSA") .x')
    # An Ed25519 key in DER (RFC 8410): twelve bytes that are always the same, then the key.
    { printf '\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00'; from_base64url "$x"; } >"$work/key"
    printf %s "$signed" >"$work/signed"
    from_base64url "${jws##*.}" >"$work/signature"
    openssl pkeyutl -verify -pubin -keyform DER -inkey "$work/key" -rawin -in "$work/signed" -sigfile "$work/signature" >&2
    from_base64url "${signed#*.}" | jq .
}

from_base64url() {
    local text=$1
    while [ $((${#text} % 4)) != 0 ]; do text=$text=; done
    printf %s "$text" | basenc --base64url -d
}

case ${1:-} in
    open)
        loan=$(jq -n --arg iin "$2" --arg phone "$3" --arg sum "$4" '{$iin, $phone, $sum, currency: "KZT", term_days: 365,
            kind: "unsecured", channel: "online", language: "kk"}')
        # Keep the key with the application in your own store before you send it: after a crash of yours it is sent again.
        ask POST /v1/loans "$loan" "${5:-$(new_key)}" | jq -er .id
        ;;
    code) ask POST "/v1/loans/$2/code" "" "$(new_key)" | jq -er .state ;;
    confirm | consent) ask POST "/v1/loans/$2/$1" "$(jq -n --arg code "$3" '{$code}')" "$(new_key)" | jq -er .state ;;
    look) ask GET "/v1/loans/$2" | jq -er '"\(.answer) \(.state)", (.gates[] | "  \(.gate): \(.answer), \(.text)")' ;;
    document) document "$2" ;;
    *) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 1 ;;
esac
