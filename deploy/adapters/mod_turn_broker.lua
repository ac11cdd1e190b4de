-- turn-broker for Prosody, and so for Jitsi Meet: each user who asks for STUN and TURN servers (XEP-0215) gets a credential of their own.
-- docs/PROGRAMS.md says where to copy this file and what to set.
-- The spender is the bare JID. While the broker refuses, so does Prosody: a spent budget is a `wait` error with `resource-constraint`.
local async = require "util.async";
local http = require "net.http";
local jid = require "util.jid";
local json = require "util.json";
local st = require "util.stanza";

local base = assert(module:get_option_string("turn_broker_url"), "set turn_broker_url");
local key = assert(module:get_option_string("turn_broker_key"), "set turn_broker_key");
module:depends("external_services");

-- The services of requests that are being answered, by their stanza.
local minted = setmetatable({}, { __mode = "k" });

local function service(server, url, expires)
	local scheme, authority, query = url:match("^(%a+):([^?]+)(.*)$");
	local host = authority:match("^%[(.+)%]") or authority:match("^[^:]+");
	local is_tls, is_turn = scheme:sub(-1) == "s", scheme:sub(1, 4) == "turn";
	return {
		type = scheme;
		host = host;
		port = tonumber(authority:match(":(%d+)$")) or (is_tls and 5349 or 3478);
		transport = query:match("transport=(%a+)") or (is_tls and "tcp" or "udp");
		username = is_turn and server.username or nil;
		password = is_turn and server.credential or nil;
		expires = is_turn and expires or nil;
	};
end

local function mint(user)
	local address = base .. "/api/turn-credentials?" .. http.formencode({ user = user });
	local answer, fault = async.wait_for(http.request(address, { headers = { Authorization = "Bearer " .. key } }));
	if not answer or answer.code ~= 200 then
		return nil, answer and answer.code or 0, answer and (json.decode(answer.body) or {}).error or tostring(fault);
	end
	local body, services = json.decode(answer.body), {};
	for _, server in ipairs(body.iceServers) do
		for _, url in ipairs(server.urls) do
			table.insert(services, service(server, url, os.time() + (body.ttl or 300)));
		end
	end
	return services;
end

local function before(event)
	-- Only the module behind decides about others, and refuses them.
	if event.origin.type ~= "c2s" then return; end
	local services, code, why = mint(jid.bare(event.stanza.attr.from));
	if services then
		minted[event.stanza] = services;
		return;
	end
	module:log("warn", "turn-broker refuses: %d %s", code, why);
	local blocked = code == 403;
	local condition = code == 429 and "resource-constraint" or blocked and "not-allowed" or "internal-server-error";
	event.origin.send(st.error_reply(event.stanza, blocked and "cancel" or "wait", condition, why));
	return true;
end

local function add(event)
	for _, item in ipairs(minted[event.stanza] or {}) do
		if not event.requested_type or event.requested_type == item.type then event.services:push(item); end
	end
end

for _, version in ipairs({ "1", "2" }) do
	for _, action in ipairs({ "services", "credentials" }) do
		module:hook("iq-get/host/urn:xmpp:extdisco:" .. version .. ":" .. action, before, 10);
	end
end
module:hook("external_service/services", add);
module:hook("external_service/credentials", add);
