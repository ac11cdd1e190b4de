#!/bin/sh
# The checks that run.sh runs in its namespace. It has only loopback, and all ports are free. All processes end with this script.
# shellcheck disable=SC2329 # functions are called by name
set -eu
# shellcheck source=tests/checks.sh
. tests/checks.sh
cd "$WORK_DIR"
OPERATOR=operator-token-of-the-proxy-test
REPORTER=reporter-token-of-the-proxy-test

# ask CLIENT PATH [CURL ARGUMENT]...: sends a request from that loopback address through the proxy. Writes the files `headers` and
# `body`, and prints the status.
ask() {
    client=$1
    path=$2
    shift 2
    curl -s --interface "$client" --resolve turn.example.com:443:127.0.0.1 --cacert "$proxy.pem" --max-time 20 \
        -D headers -o body -w '%{http_code}' "$@" "https://turn.example.com$path"
}
# The code of the error in the last response.
code() { sed -n 's/.*"code":"\([A-Z_]*\)".*/\1/p' body; }
header() { tr -d '\r' <headers | sed -n "s/^$1: //Ip"; }
# Prints the client of the last request as in the broker's log. The id in the response identifies the line.
seen() {
    id=$(header x-request-id)
    eventually grep -qF "\"request_id\":\"$id\"" "$proxy.log"
    grep -F "\"request_id\":\"$id\"" "$proxy.log" | sed -n 's/.*"client":"\([^"]*\)".*/\1/p'
}
until_it() {
    eventually "$@" && return
    echo "waited for: $*" >&2
    cat ./*.log >&2
    exit 1
}

start_broker() {
    env -i TRUSTED_PROXIES=127.0.0.1,::1 HOST=127.0.0.1 PORT=3001 RATE_LIMIT_REQUESTS=3 CLIENT_URL=https://app.example \
        OPERATOR_TOKEN=$OPERATOR REPORTER_TOKEN=$REPORTER LOG_FORMAT=json RUST_LOG=info,turn_broker=debug \
        DOORS=turn,ice,matrix,link,metered SIGNALING=ayame,p2pcf,rooms,sfu,peerjs,yjs \
        CALLS_APP_ID=app CALLS_APP_SECRET=secret-of-the-proxy-test CALLS_API_URL=http://127.0.0.1:9 \
        "$TURN_BROKER_BIN" >"$proxy.log" 2>&1 &
    broker=$!
    until_it curl -sfo /dev/null http://127.0.0.1:3001/health
}

# One difference from the page: the path of the certificate.
start_nginx() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout nginx.key -out nginx.pem -days 2 \
        -subj /CN=turn.example.com -addext subjectAltName=DNS:turn.example.com 2>/dev/null
    sed -i -e "s|/var/log/nginx|$PWD|" -e "s|^\( *ssl_certificate \).*|\1$PWD/nginx.pem;|" -e "s|^\( *ssl_certificate_key \).*|\1$PWD/nginx.key;|" nginx
    mkdir temp
    {
        echo "daemon off; user root; pid $PWD/nginx.pid; error_log stderr; events {} http { access_log off;"
        for kind in client_body proxy fastcgi uwsgi scgi; do echo "${kind}_temp_path $PWD/temp/$kind;"; done
        echo "include $PWD/nginx; }"
    } >nginx.conf
    nginx -e stderr -c "$PWD/nginx.conf" 2>nginx.out &
    server=$!
}

# One difference from the page: Caddy uses its own authority, since there is no network to fetch a certificate.
start_caddy() { run_caddy caddyfile; }

# The Caddyfile of docs/compose.caddy.yaml, with the names of this machine.
start_caddy_of_compose() { PUBLIC_URL=https://turn.example.com BROKER=127.0.0.1:3001 run_caddy caddyfile-of-compose; }

run_caddy() {
    export HOME="$PWD" XDG_DATA_HOME="$PWD/$proxy.data"
    # The first block of the file, if it has no name, has the options of the server.
    for_debian "$1" | grep -v '^#' | awk -v options=' admin off\n local_certs\n skip_install_trust' '
        NR == 1 && $0 != "{" { print "{\n" options "\n}" }
        { print }
        NR == 1 && $0 == "{" { print options }' >Caddyfile
    caddy run --adapter caddyfile --config Caddyfile >caddy.out 2>&1 &
    server=$!
    root="$XDG_DATA_HOME/caddy/pki/authorities/local/root.crt"
    until_it test -s "$root"
    cp "$root" "$proxy.pem"
}

reachable() { [ "$(ask 127.0.0.9 /api/bandwidth-status || :)" = 200 ]; }

# socket CLIENT PATH [MESSAGE] [COOKIE]: opens a WebSocket, sends the message, and prints the first text that arrives.
socket() { client=$1 && shift && node "$HERE/websocket.mjs" "$client" "$proxy.pem" "$@"; }
type_of() { sed -n 's/.*"type": *"\([A-Za-z_-]*\)".*/\1/p'; }

# Every route that DOORS and SIGNALING add.
check_signaling() {
    is 'Ayame registers over a WebSocket' accept \
        "$(socket 127.0.0.10 /signaling '{"type":"register","roomId":"room-1","clientId":"ann"}' | type_of)"
    is 'PeerJS opens a WebSocket' OPEN "$(socket 127.0.0.10 '/peerjs/peerjs?key=peerjs&id=ann&token=t&version=1.5.4' | type_of)"
    is 'y-webrtc opens a WebSocket' pong "$(socket 127.0.0.10 /yjs '{"type":"ping"}' | type_of)"
    is 'a name for rooms is taken' 302 "$(ask 127.0.0.10 /set-username -H 'Origin: https://app.example' -d username=Ann)"
    cookie=$(header set-cookie)
    is 'its cookie is for HTTPS only' 1 "$(printf '%s' "$cookie" | grep -c '; Secure')"
    is 'a room opens a WebSocket' roomState "$(socket 127.0.0.10 /parties/rooms/room-1 '' "${cookie%%;*}" | type_of)"
    is 'a client cannot name its user' '400 INVALID_REQUEST' "$(ask 127.0.0.10 /set-username -H 'Origin: https://app.example' \
        -H 'Cf-Access-Authenticated-User-Email: boss' -d other=x) $(code)"
    is 'Ayame is healthy' 200 "$(ask 127.0.0.11 /.ok)"
    is 'PeerJS gives an id' 200 "$(ask 127.0.0.11 /peerjs/peerjs/id -H 'Origin: https://app.example')"
    is 'P2PCF answers' '200 {"ps":[],"pk":[]}' "$(ask 127.0.0.11 /p2pcf -H 'Origin: https://app.example' -H 'Content-Type: application/json' \
        -d '{"r":"room-1","k":"context-1"}') $(cat body)"
    is 'the SFU proxy answers itself: no SFU is there' '502 1' \
        "$(ask 127.0.0.11 '/partytracks/sessions/new?correlationId=room-1' -X POST -H 'Origin: https://app.example') $(header x-request-id | grep -c .)"
    { printf '{"sessionDescription":{"type":"offer","sdp":"' && head -c 1000000 /dev/zero | tr '\0' v && printf '"}}'; } >offer
    is 'an offer of 1 MB gets as far as the SFU proxy' '502 1' "$(ask 127.0.0.11 '/partytracks/sessions/new?correlationId=room-1' \
        -H 'Origin: https://app.example' -H 'Content-Type: application/json' -d @offer) $(header x-request-id | grep -c .)"
    is 'TURN REST answers' 200 "$(ask 127.0.0.12 '/turn?service=turn&username=ann')"
    is 'the stunner format answers' 200 "$(ask 127.0.0.12 '/ice?service=turn')"
    is 'links answer' 204 "$(ask 127.0.0.14 /link)"
    is 'the format of Metered answers' 200 "$(ask 127.0.0.14 /api/v1/turn/credentials)"
    is 'Matrix answers' 200 "$(ask 127.0.0.12 /_matrix/client/v3/voip/turnServer)"
}

# Whether a request without its whole body was refused; by Caddy, which waits for bodies, whether it has all requests.
ended() { grep -qx "$([ "$proxy" = nginx ] && echo refused || echo sent)" slow; }

check_proxy() {
    proxy=$1
    echo "$proxy:"
    start_broker
    "start_$proxy"
    until_it reachable

    is 'plain HTTP is redirected to HTTPS' '301|308 https://turn.example.com/dashboard' "$(
        curl -s -o /dev/null -w '%{http_code} %{redirect_url}' --resolve turn.example.com:80:127.0.0.1 \
            http://turn.example.com/dashboard | sed 's/^30[18] /301|308 /')"

    ask 127.0.0.2 /api/bandwidth-status >/dev/null
    is "the log has the client's address" 127.0.0.2 "$(seen)"
    ask 127.0.0.3 /api/bandwidth-status -H 'X-Forwarded-For: 6.6.6.6' >/dev/null
    is 'a forged X-Forwarded-For changes nothing' 127.0.0.3 "$(seen)"
    ask 127.0.0.3 /api/bandwidth-status -H 'X-Forwarded-For: 6.6.6.6' -H 'X-Forwarded-For: 127.0.0.1, 7.7.7.7' \
        -H 'X-Real-IP: 6.6.6.6' -H 'CF-Connecting-IP: 6.6.6.6' -H 'Forwarded: for=6.6.6.6' >/dev/null
    is 'two of them and other forged headers change nothing' 127.0.0.3 "$(seen)"
    ask 127.0.0.3 /api/bandwidth-status -H 'X-Request-Id: chosen-by-the-client' >/dev/null
    is 'a request id of the client changes nothing' "$(header x-request-id)" "$(header x-request-id | grep -v chosen)"

    codes=
    for i in 1 2 3 4; do codes="$codes $(ask 127.0.0.4 /api/turn-credentials -H "X-Forwarded-For: 9.9.9.$i")"; done
    is 'the fourth mint of one client is refused' ' 200 200 200 429' "$codes"
    is 'another client has its own rate' 200 "$(ask 127.0.0.5 /api/turn-credentials)"

    set -- -H "Authorization: Bearer $REPORTER" -H 'Content-Type: application/json'
    is 'a connection is opened' 201 "$(ask 127.0.0.6 /api/connections "$@" -d '{"connectionId":"room/9%a"}')"
    is 'its id passes with %2F and %25' 200 "$(ask 127.0.0.6 /api/connections/room%2F9%25a/heartbeat "$@" -d '{}')"
    is 'its id passes in a beacon' 204 "$(ask 127.0.0.6 /api/connections/room%2F9%25a/close -H 'Content-Type: text/plain' \
        -d "{\"token\":\"$REPORTER\"}")"
    is 'its id passes with DELETE' 204 "$(ask 127.0.0.6 /api/connections/room%2F9%25a "$@" -X DELETE)"

    for page in /turn-client.js /turn-client.d.ts /dashboard /dashboard/main.js /relay-check /relay-check/main.js \
        /openapi.json; do
        is "$page is available" 200 "$(ask 127.0.0.7 $page)"
    done
    is 'the dashboard has its content security policy' 1 "$(ask 127.0.0.7 /dashboard >/dev/null && header content-security-policy | grep -c default-src)"
    is "the operator's figures are available with the token" 200 \
        "$(ask 127.0.0.7 /api/overview -H "Authorization: Bearer $OPERATOR")"
    is '/metrics is available with the token' 200 "$(ask 127.0.0.7 /metrics -H "Authorization: Bearer $OPERATOR")"
    is '/metrics needs the token' '401 UNAUTHORIZED' "$(ask 127.0.0.7 /metrics) $(code)"
    is 'an unknown path gets the 404 of the broker' '404 NOT_FOUND' "$(ask 127.0.0.7 /dashboards) $(code)"
    head -c 250000 /dev/zero >long
    codes=
    for _ in 1 2 3 4 5 6 7 8; do codes="$codes $(ask 127.0.0.7 /api/connections "$@" --data-binary @long) $(code)"; done
    is 'a body that is too long gets the 413 of the broker' 1 "$(echo "$codes" | grep -cx '\( 413 PAYLOAD_TOO_LARGE\)\{8\}')"
    check_signaling

    ask 127.0.0.8 /api/connections -X OPTIONS -H 'Origin: https://app.example' -H 'Access-Control-Request-Method: POST' \
        -H 'Access-Control-Request-Headers: authorization,content-type' >/dev/null
    is 'a preflight has one CORS answer' https://app.example "$(header access-control-allow-origin)"

    # One client holds more unfinished requests than it may. nginx refuses its further sockets. Caddy keeps them from the broker.
    node "$HERE/slow.mjs" 127.0.0.20 "$proxy.pem" 600 >slow &
    slow=$!
    until_it ended
    codes=
    for _ in 1 2 3 4 5; do codes="$codes $(ask 127.0.0.21 /api/bandwidth-status)"; done
    wait "$slow"
    is 'slow bodies of one client reach no broker, and others are served' ' 200 200 200 200 200' "$codes"

    # 600 requests, from eight clients at the same time. The proxy reuses its sockets to the broker.
    before=$(sockets)
    for client in 1 2 3 4 5 6 7 8; do
        curl -s --interface 127.0.1.$client --resolve turn.example.com:443:127.0.0.1 --cacert "$proxy.pem" --max-time 120 \
            -o /dev/null -w '%{http_code}\n' "https://turn.example.com/api/bandwidth-status?[1-75]" >codes.$client &
        clients="${clients:-} $!"
    done
    # shellcheck disable=SC2086 # a list
    wait $clients
    clients=
    is '600 requests get 600 answers' '600 200' "$(cat codes.* | sort | uniq -c | sed 's/^ *//')"
    opened=$(($(sockets) - before))
    is "the proxy reuses its sockets: $opened opened" 1 "$((opened <= 32))"

    kill "$server" "$broker"
    wait "$server" "$broker" || :
}
# The number of the broker's sockets, including those that closed in the last minute.
sockets() { ss -Htan 'sport = :3001' | wc -l; }

# broker_with SETTING...: the broker with the settings of the file $proxy.env, and these.
broker_with() {
    sed "s|the output of: openssl rand -hex 32|$KEY|" "$proxy.env" >"$proxy.filled"
    env -i LOG_FORMAT=json "$@" "$TURN_BROKER_BIN" serve --env-file "$proxy.filled" >"$proxy.log" 2>&1 &
    broker=$!
    until_it curl -sfo /dev/null http://127.0.0.1:3001/health
    is 'each of its settings exists' 0 "$(grep -c 'is not a setting' "$proxy.log" || :)"
}

check_app_server() {
    proxy=app
    echo "$proxy:"
    KEY=$(openssl rand -hex 32)
    broker_with AUTH_REQUIRED=true
    mint() { curl -s --max-time 20 -D headers -o body -w '%{http_code}' "$@" 'http://127.0.0.1:3001/api/turn-credentials?user=ann&label=room-1'; }
    is 'without the key nobody mints' '401 INVALID_TOKEN' "$(mint) $(code)"
    is 'with the key it mints' 200 "$(mint -H "Authorization: Bearer $KEY")"
    is 'what it passes on has the address of the page' '200 203.0.113.9' \
        "$(mint -H "Authorization: Bearer $KEY" -H 'X-Forwarded-For: 203.0.113.9') $(seen)"
    kill "$broker"
    wait "$broker" || :
}

# A homeserver that knows one token, and says which path was asked for.
HOMESERVER='require("node:http").createServer((request, response) => {
    const isKnown = request.headers.authorization === "Bearer good";
    const isWho = request.method === "GET" && request.url === "/_matrix/client/v3/account/whoami";
    response.writeHead(isWho && !isKnown ? 401 : 200, { "Content-Type": "application/json" });
    response.end(JSON.stringify(isWho && !isKnown ? { errcode: "M_UNKNOWN_TOKEN" } : { homeserver: request.url }));
}).listen(8008, "127.0.0.1")'

check_matrix() {
    proxy=matrix
    echo "$proxy:"
    KEY=
    broker_with
    node -e "$HOMESERVER" &
    homeserver=$!
    run_caddy caddyfile-of-matrix
    matrix() {
        path=$1
        shift
        curl -s --resolve matrix.example.com:443:127.0.0.1 --cacert matrix.pem --max-time 20 -D headers -o body -w '%{http_code}' "$@" \
            "https://matrix.example.com$path" || :
    }
    up() { [ "$(matrix /_matrix/client/versions)" = 200 ]; }
    until_it up
    is 'other paths go to the homeserver' '{"homeserver":"/_matrix/client/versions"}' "$(cat body)"
    for version in v3 r0 unstable api/v1; do
        turn=/_matrix/client/$version/voip/turnServer
        is "$version: a user of the homeserver gets servers" '200 1' "$(matrix $turn -H 'Authorization: Bearer good') $(grep -c '"uris":\[' body)"
        is "$version: others get the answer of the homeserver" '401 1' "$(matrix $turn -H 'Authorization: Bearer bad') $(grep -c M_UNKNOWN_TOKEN body)"
    done
    is 'nor does a HEAD or a POST mint without a token' '401 401' "$(matrix $turn -I) $(matrix $turn -X POST)"
    is 'a preflight needs no token' 'https://app.element.io' "$(matrix $turn -X OPTIONS -H 'Origin: https://app.element.io' \
        -H 'Access-Control-Request-Method: GET' -H 'Access-Control-Request-Headers: authorization' >/dev/null && header access-control-allow-origin)"
    is 'no other path leads to the broker' 1 "$(matrix /api/turn-credentials >/dev/null && grep -c homeserver body)"
    kill "$server" "$broker" "$homeserver"
    wait "$server" "$broker" "$homeserver" || :
}

check_proxy nginx
is 'the log of nginx has paths and no queries' '1 0' "$(grep -c -m 1 /api/turn-credentials access.log) $(grep -c '[?]' access.log)"
check_proxy caddy
check_proxy caddy_of_compose
check_app_server
check_matrix
exit $failed
