%% turn-broker for ejabberd (23.01 or later): each user who asks for STUN and TURN servers (XEP-0215) gets a credential of their own.
%% Compile it with `erlc -pa EBIN mod_turn_broker.erl`, where EBIN has gen_mod.beam of ejabberd, and put the .beam there. docs/PROGRAMS.md
%% says what to set.
%% The spender is the bare JID. While the broker refuses, so does ejabberd: a spent budget is a `wait` error with `resource-constraint`.
-module(mod_turn_broker).
-behaviour(gen_mod).
-export([start/2, stop/1, reload/3, depends/2, mod_options/1, mod_opt_type/1, mod_doc/0, process_iq/1]).
-include_lib("p1_xmpp/include/xmpp.hrl").

start(Host, _) ->
    {ok, _} = application:ensure_all_started(inets),
    gen_iq_handler:add_iq_handler(ejabberd_local, Host, ?NS_EXTDISCO_2, ?MODULE, process_iq).

stop(Host) -> gen_iq_handler:remove_iq_handler(ejabberd_local, Host, ?NS_EXTDISCO_2).
reload(_, _, _) -> ok.
depends(_, _) -> [].
mod_opt_type(url) -> econf:url();
mod_opt_type(key) -> econf:binary().
mod_options(_) -> [url, key].
mod_doc() -> #{desc => <<"STUN and TURN servers of turn-broker.">>}.

process_iq(#iq{type = get, from = #jid{lserver = Host} = From, to = #jid{lserver = Host}, sub_els = [#services{type = Type}]} = Iq) ->
    case mint(Host, jid:encode(jid:remove_resource(From))) of
        {ok, Services} ->
            xmpp:make_iq_result(Iq, #services{type = Type, list = [S || S <- Services, Type == undefined orelse Type == S#service.type]});
        {429, Why} -> refused(Iq, xmpp:err_resource_constraint(Why, <<"en">>));
        {403, Why} -> refused(Iq, xmpp:err_not_allowed(Why, <<"en">>));
        {_, Why} -> refused(Iq, xmpp:err_internal_server_error(Why, <<"en">>))
    end;
process_iq(Iq) -> refused(Iq, xmpp:err_forbidden()).

refused(Iq, Error) -> xmpp:make_error(Iq, Error).

mint(Host, User) ->
    Option = fun(Name) -> unicode:characters_to_list(gen_mod:get_module_opt(Host, ?MODULE, Name)) end,
    Url = Option(url) ++ "/api/turn-credentials?" ++ uri_string:compose_query([{"user", unicode:characters_to_list(User)}]),
    Headers = [{"authorization", "Bearer " ++ Option(key)}],
    case httpc:request(get, {Url, Headers}, [{timeout, 5000}, {ssl, httpc:ssl_verify_host_options(true)}], [{body_format, binary}]) of
        {ok, {{_, 200, _}, _, Body}} ->
            #{<<"iceServers">> := Servers} = Answer = jiffy:decode(Body, [return_maps]),
            {Mega, Seconds, _} = os:timestamp(),
            End = Mega * 1000000 + Seconds + maps:get(<<"ttl">>, Answer, 300),
            Expires = {End div 1000000, End rem 1000000, 0},
            {ok, [service(Server, Address, Expires) || #{<<"urls">> := Urls} = Server <- Servers, Address <- Urls]};
        {ok, {{_, Status, _}, _, Body}} -> {Status, maps:get(<<"error">>, jiffy:decode(Body, [return_maps]), <<>>)};
        {error, _} -> {0, <<"turn-broker does not answer">>}
    end.

service(Server, Address, Expires) ->
    {match, [Scheme, Host, Port, Transport]} = re:run(Address, <<"^(\\w+):\\[?(.+?)\\]?(?::(\\d+))?(?:\\?transport=(\\w+))?$">>,
        [{capture, [1, 2, 3, 4], binary}]),
    Type = binary_to_existing_atom(Scheme, latin1),
    IsTls = lists:member(Type, [turns, stuns]),
    Service = #service{
        type = Type, host = Host,
        port = case Port of <<>> when IsTls -> 5349; <<>> -> 3478; _ -> binary_to_integer(Port) end,
        transport = case Transport of <<>> when IsTls -> tcp; <<>> -> udp; _ -> binary_to_existing_atom(Transport, latin1) end},
    case Server of
        #{<<"username">> := Name, <<"credential">> := Password} ->
            Service#service{username = Name, password = Password, expires = Expires, restricted = true};
        _ -> Service
    end.
