#!/bin/sh
# Replaces the TURN key at Cloudflare. Run it each day from a timer; it does what is due:
#   1. a new key after EVERY_DAYS, once it has minted: it gets weight 1, and the old one weight 0. Then the broker restarts;
#   2. the end of an old key at Cloudflare 3 days after that start, when its last credential (48 h) and tail (2 h) have ended;
#   3. its line leaves 33 days after that: until the period's last count, the broker needs it to recognize the bytes as its own.
#
# usage: rotate-turn-key.sh KEYS_FILE
#
# KEYS_FILE is the file of CLOUDFLARE_TURN_KEYS_FILE. Its keys named key-YYYYMMDD, by the day of their creation, oldest first, are
# replaced: "key-20260101=KEY_ID:TOKEN:1". All other lines stay as they are.
# Environment: CLOUDFLARE_ACCOUNT_ID, CLOUDFLARE_API_TOKEN (permission Calls: Edit), EVERY_DAYS (30, at least 3), RESTART (the command),
# CLOUDFLARE_REST_BASE and CLOUDFLARE_API_BASE (for tests and proxies), TODAY (YYYY-MM-DD) and PAUSE (seconds; both for tests).
set -eu
file=${1:?usage: rotate-turn-key.sh KEYS_FILE}
: "${CLOUDFLARE_ACCOUNT_ID:?set it to the id of the account}" "${CLOUDFLARE_API_TOKEN:?set it to a token with Calls: Edit}"
keys=${CLOUDFLARE_REST_BASE:-https://api.cloudflare.com}/client/v4/accounts/$CLOUDFLARE_ACCOUNT_ID/calls/turn_keys
mint=${CLOUDFLARE_API_BASE:-https://rtc.live.cloudflare.com}/v1/turn/keys
restart=${RESTART:-systemctl restart turn-broker}
today=${TODAY:-$(date -u +%F)}
[ "${EVERY_DAYS:-30}" -ge 3 ] || { echo "set EVERY_DAYS to 3 or more: an old key is deleted 3 days after the restart" >&2; exit 1; }
umask 077

# The token is on standard input, because others on this machine can read arguments.
call() { # TOKEN, then arguments of curl
  token=$1
  shift
  printf 'header = "Authorization: Bearer %s"\n' "$token" |
    curl --config - --silent --show-error --fail --max-time 20 --header 'Content-Type: application/json' "$@"
}

field() { # NAME: the text of this field in the JSON on standard input
  sed -n "s/.*\"$1\" *: *\"\([^\"]*\)\".*/\1/p"
}

days_since() { # YYYYMMDD
  from=$(date -u -d "$1" +%s)
  echo $((($(date -u -d "$today" +%s) - from) / 86400))
}

# The broker mints with the keys of its last start. $file.started has the day; it is empty until the broker has started with these keys.
restart_broker() {
  sh -c "$restart"
  date -u -d "$today" +%Y%m%d >"$file.started"
}
if [ -e "$file.started" ] && [ ! -s "$file.started" ]; then restart_broker; fi
served=$(days_since "$(cat "$file.started" 2>/dev/null || echo 19700101)")

# Oldest last: each old key was replaced on the day of the next one.
next='' kept=''
while IFS= read -r line; do
  case $line in
  key-????????=*:0)
    gone=$(days_since "${next#key-}")
    id=${line#*=}
    # A key that is gone already answers 404.
    [ "$gone" -lt 3 ] || [ "$served" -lt 3 ] || call "$CLOUDFLARE_API_TOKEN" --request DELETE "$keys/${id%%:*}" >/dev/null 2>&1 || true
    ;;
  *) gone=0 ;;
  esac
  case $line in key-????????=*) next=${line%%=*} ;; esac
  [ "$gone" -ge 33 ] || kept="$line
$kept"
done <<END
$(tac "$file")
END

newest=$(printf '%s' "$kept" | sed -n 's/^key-\([0-9]\{8\}\)=.*/\1/p' | tail -n 1)
age=$(days_since "${newest:?no line key-YYYYMMDD in $file}")
if [ "$age" -ge "${EVERY_DAYS:-30}" ]; then
  name=key-$(date -u -d "$today" +%Y%m%d)
  made=$(call "$CLOUDFLARE_API_TOKEN" --data "{\"name\":\"turn-broker $name\"}" "$keys")
  id=$(printf '%s' "$made" | field uid) token=$(printf '%s' "$made" | field key)
  tries=0
  until call "$token" --data '{"ttl":60}' "$mint/$id/credentials/generate-ice-servers" >/dev/null; do
    tries=$((tries + 1))
    [ "$tries" -lt 10 ] || { echo "the new key $id does not mint: delete it, and look at cloudflarestatus.com" >&2; exit 1; }
    sleep "${PAUSE:-5}"
  done
  kept=$(printf '%s' "$kept" | sed 's/^\(key-[0-9]\{8\}=[^:]*:[^:]*\).*/\1:0/')"
$name=$id:$token:1
"
fi

# With the owner and the mode of the file.
cp -p "$file" "$file.new"
printf '%s' "$kept" >"$file.new"
if cmp -s "$file" "$file.new"; then
  rm "$file.new"
else
  : >"$file.started"
  mv "$file.new" "$file"
  restart_broker
fi
