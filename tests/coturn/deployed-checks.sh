#!/bin/sh
# The checks that deployed.sh runs in its namespace. All processes end with this script.
# shellcheck disable=SC2329,SC1091 # functions are called by name; the sourced file is created here
set -eu
# shellcheck source=tests/checks.sh
. tests/checks.sh
cd "$WORK_DIR"
DOMAIN=coturn.example.com
ADDRESS=203.0.113.10
# Unset, because the broker would warn: the name is similar to that of a setting.
BROKER=$TURN_BROKER_BIN
unset TURN_BROKER_BIN

until_it() {
    eventually "$@" >/dev/null 2>&1 && return
    echo "waited for: $*" >&2
    tail -n 20 coturn.log broker.log >&2
    exit 1
}
# Creates a certificate authority once, and a certificate with this serial number.
certificate() {
    new='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'
    # shellcheck disable=SC2086 # a list
    {
        [ -e ca.pem ] || openssl req -x509 $new -keyout ca.key -out ca.pem -days 2 -subj /CN=test
        openssl req $new -keyout letsencrypt/privkey.pem -out request.pem -subj "/CN=$DOMAIN"
        echo "subjectAltName=DNS:$DOMAIN" >names
        openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -set_serial "$1" -days 30 -extfile names \
            -out letsencrypt/fullchain.pem
    } >openssl.log 2>&1
}
between() { if [ "$2" -ge "$1" ] && [ "$2" -le "$3" ]; then echo yes; else echo "$2"; fi; }
served() { openssl s_client -connect $ADDRESS:"${1:-5349}" </dev/null 2>/dev/null | openssl x509 -noout -serial; }

# --- the commands of the page ---------------------------------------------------------------------------------------------
# The address is on a bridge without ports, since coturn ignores loopback interfaces. Only this namespace knows the name.
ip link add public type bridge
ip addr add $ADDRESS/24 dev public
ip link set public up
{ cat /etc/hosts && echo "$ADDRESS $DOMAIN"; } >hosts
mount --bind hosts /etc/hosts

certificate 1
# Two differences from the page: the path of the certificate, and sudo changes no owner, because coturn runs as this user.
sed -e "s|^CERTIFICATE=.*|CERTIFICATE=$WORK_DIR/letsencrypt|" lines.sh >lines-here.sh
(sudo() { [ "$1" = chown ] || "$@"; } && . ./lines-here.sh)
is 'files with secrets are readable for their owner only' '600 600' "$(stat -c %a coturn/turnserver.conf .env | xargs)"
is 'every value is filled in, except optional ones' '#tls-listening-port=443' "$(grep -E '^#[a-z-]+=' coturn/turnserver.conf | xargs -d '\n')"

# --- coturn and broker, started as documented --------------------------------------------------------------------------
# The paths in the container become paths here.
mkdir tmp
sed -e "s|=/tmp/|=$WORK_DIR/tmp/|" -e "s|=/etc/coturn/|=$WORK_DIR/coturn/|" coturn/turnserver.conf >here.conf
turnserver -c "$WORK_DIR/here.conf" >coturn.log 2>&1 &
coturn=$!
until_it served
# Lines that only other versions have.
others='Bad configuration format: (cli|no-tlsv1|no-tlsv1_1|no-stun-backward-compatibility)$'
is 'coturn accepts every line of its configuration' 0 \
    "$(grep -iE 'bad configuration|unknown|warning|error' coturn.log | grep -cvE "$others" || :)"

mkdir -m 700 broker
cp .env broker/
# The first two are those of the compose file. No billing period ends during the test.
STATE_DIR=$WORK_DIR/broker HOST=127.0.0.1 RATE_LIMIT_REQUESTS=100 CA_FILE=$WORK_DIR/ca.pem BILLING_DAY=8
[ "$(date -u +%-d)" -ge 15 ] || BILLING_DAY=22
export STATE_DIR HOST RATE_LIMIT_REQUESTS CA_FILE BILLING_DAY
(cd broker && exec "$BROKER" >../broker.log 2>&1) &
broker() { curl -s --max-time 10 "$@"; }
B=http://127.0.0.1:3001
until_it broker -f $B/ready
is 'the broker has no warning' 0 "$(grep -c '"WARN"' broker.log || :)"
value() { sed -n "s/.*\"$1\":\"\{0,1\}\([^\",}]*\).*/\1/p"; }
status() { broker $B/api/bandwidth-status | value "$1"; }
measured() { [ "$(status source)" = measured+estimate ]; }
until_it measured
is 'the status uses the count of coturn' measured+estimate "$(status source)"

(cd broker && "$BROKER" doctor >../doctor.log 2>&1) && doctor=0 || doctor=$?
is 'doctor finds no problem, but for the version of Debian' '0 0 1' "$doctor $(grep -c '^FAIL' doctor.log || :) $(grep '^warn' doctor.log | grep -c CVE-2026-27624)"
is 'doctor has nothing else to warn of' 1 "$(grep -c '^warn' doctor.log || :)"
is 'private peers, allocations for TCP and too many are refused' 1 "$(grep -c 'refuses private peers, allocations for TCP, and too many' doctor.log || :)"
is 'the bound holds' true "$(status boundHolds)"
is 'doctor sends a datagram through an allocation' 1 "$(grep -c '^ok  *turn .*relays at' doctor.log || :)"

# --- a call ---------------------------------------------------------------------------------------------------------------
broker $B/api/turn-credentials >minted
is 'credentials are from coturn' coturn "$(value source <minted)"
call() {
    timeout 300 turnutils_uclient -c -u "$(value username <minted)" -w "$(value credential <minted)" -l 1000 "$@" $ADDRESS
}
call -y -m 1 -z 5 -n 3000 >call.log 2>&1 && relayed=0 || relayed=$?
received=$(sed -n 's/.*start_mclient: tot_send_msgs=[0-9]*, tot_recv_msgs=//p' call.log | tail -n 1)
# A busy machine loses many packets.
is 'a call between two clients of coturn is relayed' '0 yes' "$relayed $(between 3000 "${received:-0}" 6000)"
counted() { [ "$(status usedBytes)" -ge $((received * 1000)) ]; }
until_it counted
# While sessions go on, what coturn hides is claimed.
at_rest() { [ "$(between 3000000 "$(status usedBytes)" 6200000)" = yes ]; }
until_it at_rest
is 'the ledger has the bytes of the call without reports' yes "$(between 3000000 "$(status usedBytes)" 6200000)"
# reach PEER SECONDS: mints a credential and tries to send to PEER. Prints whether coturn allows it.
reach() {
    broker $B/api/turn-credentials >"minted.$1"
    timeout "$2" turnutils_uclient -c -n 1 -u "$(value username <"minted.$1")" -w "$(value credential <"minted.$1")" \
        -e "$1" $ADDRESS >"peer.$1" 2>&1 || :
    if grep -q '403 (Forbidden IP)' "peer.$1"; then echo forbidden; elif grep 'error' "peer.$1"; then :; else echo allowed; fi
}
for peer in 0.0.0.1 10.1.2.3 100.64.0.1 127.0.0.1 169.254.169.254 172.17.0.1 192.168.1.1 198.18.0.1 255.255.255.255; do
    is "$peer is not an allowed peer" forbidden "$(reach $peer 20)"
done
# These peers do not answer, so the client would wait without end.
for peer in 1.1.1.1 198.51.100.7; do
    is "$peer is an allowed peer" allowed "$(reach $peer 3)"
done

# --- a cut ----------------------------------------------------------------------------------------------------------------
call -y -m 1 -z 2 -n 1000000 >cut.log 2>&1 &
long=$!
A="Authorization: Bearer $(sed -n 's/^OPERATOR_TOKEN=//p' .env)"
cut() { broker $B/metrics -H "$A" | sed -n 's/^turn_broker_sessions_cut_total //p'; }
more() { [ "$(status usedBytes)" -gt $((used + 5000000)) ]; }
used=$(status usedBytes)
until_it more
is 'a revocation at coturn is a cut' cut "$(broker -X POST "$B/api/credentials/$(value grant <minted)/revoke" -H "$A" | value provider)"
has_cut() { [ "$(cut)" -ge 2 ]; }
until_it has_cut
is 'the broker has cut the sessions of the call' yes "$(between 2 "$(cut)" 4)"
# During the call the figure rose with every look.
quiet() { used=$(status usedBytes) && sleep 6 && [ "$(status usedBytes)" = "$used" ]; }
until_it quiet
is 'nothing flows any more, although the clients still run' yes "$(kill $long && echo yes)"

# --- a new certificate -------------------------------------------------------------------------------------------------------
is 'coturn serves the certificate' serial=01 "$(served)"
certificate 2
cp letsencrypt/fullchain.pem letsencrypt/privkey.pem coturn/
kill -USR2 $coturn
renewed() { [ "$(served)" = serial=02 ]; }
until_it renewed
is 'coturn serves the next certificate after SIGUSR2' serial=02 "$(served)"

# --- a new secret ------------------------------------------------------------------------------------------------------------
NEW=$(openssl rand -hex 32)
sed "s|=the output of.*|=$NEW|" new-secret >line
sed -i -e '/^static-auth-secret=/r line' -e /^tls-listening-port/d -e 's/^#tls-listening-port/tls-listening-port/' here.conf
kill $coturn
wait $coturn || :
turnserver -c "$WORK_DIR/here.conf" >coturn.log 2>&1 &
until_it served 443
OLD=$(sed -n 's/^COTURN_SECRET=//p' .env)
# accepts SECRET: whether coturn relays with a credential of that secret. Each has a user of its own, with its quota.
accepts() { if timeout 60 turnutils_uclient -c -y -m 1 -n 2 -u "user-$(date +%N)" -W "$@" $ADDRESS 2>&1 | grep -q 'tot_recv_bytes ~ [1-9]'; then echo yes; else echo no; fi; }
is 'coturn accepts credentials of the old and of the new secret, and of no other' 'yes yes no' \
    "$(accepts "$OLD") $(accepts "$NEW") $(accepts another)"
is 'coturn serves TLS at 443' serial=02 "$(served 443)"
# Three heartbeats have passed since coturn's start.
is 'coturn keeps its connections to the broker' 0 "$(grep -c 'Redis connection broken' coturn.log || :)"
[ $failed = 0 ] || tail -n 40 coturn.log broker.log doctor.log
exit $failed
