-- turn-broker for Prosody 0.12 and 13, and so for Jitsi Meet. docs/PROGRAMS.md says where to copy this file and what to set. For docker-jitsi-meet:
-- /prosody-plugins-custom, GLOBAL_MODULES=turn_broker, GLOBAL_CONFIG=turn_broker_url="https://turn.example.com"\nturn_broker_key="KEY"
--
-- Who asks: each client once for each login (XEP-0215), and Jitsi's mod_room_metadata_component for each participant, by `get_services()`
-- (since April 2026). The user is the bare JID. Guests have no user; they share a credential with their room as label where Jitsi says it, else
-- their host. Guests choose their room, so those of an address that names too many rooms share the credential of their host.
-- An answer is kept until its `refreshAfter`. If the broker does not answer within 3 s, its last answer serves until it expires.
module:set_global();
local cache = require "util.cache";
local datetime = require "util.datetime";
local filters = require "util.filters";
local http = require "net.http";
local json = require "util.json";
local st = require "util.stanza";

local TIMEOUT_SECONDS = 3;
-- After an error or a refusal, the broker is asked again for the same name.
local RETRY_SECONDS = 10;
local NAMES_MAX = 10000;
local WAITING_MAX = 1000;
-- How many rooms an address may name in an hour.
local ROOMS_MAX = 64;
local CONDITIONS = { [403] = "not-allowed", [429] = "resource-constraint" };

local base, key = module:get_option_string("turn_broker_url"), module:get_option_string("turn_broker_key");
assert(base and key, "set turn_broker_url and turn_broker_key before the first VirtualHost");

-- By the query of the request, which names the spender.
local answers = cache.new(NAMES_MAX);
local waiting = 0;
-- By address: the rooms that it has named in this hour.
local rooms = cache.new(NAMES_MAX);
-- The services of XEP-0215 requests that are being answered, by their stanza.
local minted = setmetatable({}, { __mode = "k" });

local function service(server, url, expires)
	local scheme, authority, query = url:match("^(%a+):([^?]+)(.*)$");
	local is_tls, is_turn = scheme:sub(-1) == "s", scheme:sub(1, 4) == "turn";
	return {
		type = scheme;
		host = authority:match("^%[(.+)%]") or authority:match("^[^:]+");
		port = tonumber(authority:match(":(%d+)$")) or (is_tls and 5349 or 3478);
		transport = query:match("transport=(%a+)") or (is_tls and "tcp" or "udp");
		username = is_turn and server.username or nil;
		password = is_turn and server.credential or nil;
		expires = is_turn and expires or nil;
	};
end

-- Fails if the broker's answer is not that of a mint. A degraded one has no times, and is kept for a minute.
local function read(body, now)
	local answer = assert(json.decode(body));
	local life, fresh = answer.ttl or 60, 60;
	if answer.refreshAfter then fresh = datetime.parse(answer.refreshAfter) - datetime.parse(answer.issuedAt); end
	local services = {};
	for _, server in ipairs(assert(answer.iceServers)) do
		for _, url in ipairs(server.urls) do table.insert(services, service(server, url, now + life)); end
	end
	return { services = services, ask_at = now + fresh, expires = now + life };
end

-- Calls back with an answer, which has `services` or else the `code` and `why` of an error: at once from memory, or within TIMEOUT_SECONDS.
local function ask(query, callback)
	local known = answers:get(query) or { ask_at = 0, expires = 0 };
	if os.time() < known.ask_at then return callback(known); end
	if waiting >= WAITING_MAX then return callback({ code = 0, why = "too many requests wait" }); end
	waiting = waiting + 1;
	if known.callbacks then return table.insert(known.callbacks, callback); end
	known.callbacks = { callback };
	answers:set(query, known);
	local function done(body, code)
		local now, callbacks = os.time(), known.callbacks;
		if not callbacks then return; end -- the time was over
		local is_read, answer = pcall(read, body, now);
		if code ~= 200 or not is_read then
			local is_json, refusal = pcall(json.decode, body);
			local why = is_json and type(refusal) == "table" and refusal.error or code == 0 and body or "no answer of turn-broker";
			module:log("warn", "turn-broker refuses %s: %d %s", query, code, why);
			local serves = not CONDITIONS[code] and now < known.expires;
			answer = { services = serves and known.services, code = code, why = why, ask_at = now + RETRY_SECONDS, expires = known.expires };
		end
		answers:set(query, answer);
		known.callbacks, waiting = nil, waiting - #callbacks;
		for _, each in ipairs(callbacks) do each(answer); end
	end
	local request = http.request(base .. "/api/turn-credentials?" .. query, { headers = { Authorization = "Bearer " .. key } }, done);
	module:add_timer(TIMEOUT_SECONDS, function ()
		done("turn-broker does not answer", 0);
		if request then http.destroy_request(request, true); end
	end);
end

local function may_name(address, room)
	local hour, named = math.floor(os.time() / 3600), rooms:get(address);
	if not named or named.hour ~= hour then
		named = { hour = hour, count = 0, rooms = {} };
		rooms:set(address, named);
	end
	if not named.rooms[room] and named.count < ROOMS_MAX then
		named.rooms[room], named.count = true, named.count + 1;
	end
	return named.rooms[room];
end

-- Guests have a new name for each login.
local function spender(session)
	if not session.turn_broker_guest then return http.formencode({ user = session.username .. "@" .. session.host }); end
	if session.turn_broker_label then return session.turn_broker_label; end
	local room = session.jitsi_web_query_room and (session.jitsi_web_query_prefix or "") .. "/" .. session.jitsi_web_query_room;
	local label = room and may_name(session.ip or "", room) and room or session.host;
	session.turn_broker_label = http.formencode({ label = (label:gsub("^/", ""):gsub("[^%w._:@/-]", "-"):sub(1, 64)) });
	return session.turn_broker_label;
end

-- Jitsi's component reads the services of its own host just before a participant gets the presence of having joined. It cannot wait and says not
-- who asks. So it finds what was asked for at that participant's login.
local function offer(stanza, session)
	if stanza.name ~= "presence" or not session.username or not stanza:get_child("x", "http://jabber.org/protocol/muc#user") then return stanza; end
	local known = answers:get(spender(session));
	for _, host in pairs(prosody.hosts) do
		if host.modules.room_metadata_component then
			host.modules.external_services.module.items.external_service = known and os.time() < known.expires and known.services or {};
		end
	end
	return stanza;
end
local function watch(session) filters.add_filter(session, "stanzas/out", offer, 10); end
filters.add_filter_hook(watch);
function module.unload() filters.remove_filter_hook(watch); end

function module.add_host(module)
	module:depends("external_services");
	module:hook("authentication-success", function (event)
		local sasl = event.session.sasl_handler;
		event.session.turn_broker_guest = sasl and sasl.selected == "ANONYMOUS";
	end);
	module:hook("resource-bind", function (event)
		if event.session.jitsi_web_query_room then ask(spender(event.session), function () end); end
	end);

	local function hook(request)
		module:hook(request, function (event)
			local origin, stanza = event.origin, event.stanza;
			-- The module behind answers, and only it decides about others.
			if origin.type ~= "c2s" or minted[stanza] then return; end
			ask(spender(origin), function (answer)
				minted[stanza] = answer.services;
				if origin.destroyed then return; end
				if answer.services then return module:fire_event(request, event); end
				local kind = answer.code == 403 and "cancel" or "wait";
				origin.send(st.error_reply(stanza, kind, CONDITIONS[answer.code] or "internal-server-error", answer.why));
			end);
			return true;
		end, 10);
	end
	for _, version in ipairs({ "1", "2" }) do
		for _, action in ipairs({ "services", "credentials" }) do hook("iq-get/host/urn:xmpp:extdisco:" .. version .. ":" .. action); end
	end

	local function add(event)
		for _, item in ipairs(minted[event.stanza] or {}) do
			if not event.requested_type or event.requested_type == item.type then event.services:push(item); end
		end
	end
	module:hook("external_service/services", add);
	module:hook("external_service/credentials", add);
end
