#!/bin/sh
# The part of run.sh inside the network namespace. A coturn's credentials need no coturn to be minted. The document has every route, so all
# are on, and a credential may live as long as the document says.
#   $1  schemathesis
#   $2  its configuration
#   $3  a Python with the packages of the generated client
set -eu
schemathesis=$1
config=$2
python=$3
cd "$WORK_DIR" # without .env; schemathesis stores what it finds there
operator='operator-0123456789-0123456789-operator'
reporter='reporter-0123456789-0123456789-reporter'
server='server-0123456789-server-0123456789-server'
env -i HOST=127.0.0.1 PORT=3001 CLIENT_URL=http://app.test NO_COLOR=1 LOG_FORMAT=text STATE_DIR="$WORK_DIR/state" \
    ICE_SOURCES=coturn,stun COTURN_URLS=turn:127.0.0.1:3478 RELAY_PROBE=off COTURN_SECRET=0123456789abcdef0123456789abcdef \
    SIGNALING=ayame,p2pcf,peerjs,reports,rooms,sfu,yjs CALLS_APP_ID=app CALLS_APP_SECRET=secret CALLS_API_URL=http://127.0.0.1:9/v1 \
    DOORS=turn,matrix,ice,link,metered,cloudflare TURN_TTL_SECONDS=172800 SERVER_KEYS=app=$server RATE_LIMIT_REQUESTS=10000 OPERATOR_TOKEN=$operator REPORTER_TOKEN=$reporter \
    "$TURN_BROKER_BIN" >broker.log 2>&1 &
broker=$!
failed=0

# check ROLE [OPTION...]: a warning says which operations a role may not call, which is intended.
# ignored_auth repeats calls without the token, but most operations here do not need one.
# ensure_resource_availability puts an id that has a % into a path as it is. Signaling has the rules of its clients' protocols, which no
# schema states, and the SFU cannot be reached here: tests/it/openapi.rs checks its routes.
check() {
    role=$1
    shift
    for group in ayame p2pcf peerjs reports rooms sfu yjs; do set -- "$@" --exclude-tag $group; done
    if timeout 600 "$schemathesis" --config-file "$config" run http://127.0.0.1:3001/openapi.json "$@" --wait-for-schema 20 \
        --generation-deterministic --max-examples 6 --no-color --warnings off \
        --checks all --exclude-checks ignored_auth,ensure_resource_availability >"$role.txt" 2>&1; then
        echo "ok      as $role: $(sed -n 's/^ *\([0-9]* generated\).*/\1/p' "$role.txt")"
    else
        failed=1
        cat "$role.txt"
        echo "FAILED  as $role"
    fi
}
check stranger
node client.js http://127.0.0.1:3001 || failed=1
"$python" client.py http://127.0.0.1:3001 || failed=1
check reporter -H "Authorization: Bearer $reporter"
check server -H "Authorization: Bearer $server"
check operator -H "Authorization: Bearer $operator"

for marker in panicked '"status":500' 'status=500'; do
    if grep "$marker" broker.log; then failed=1; fi
done
kill $broker
wait $broker || failed=1
exit $failed
