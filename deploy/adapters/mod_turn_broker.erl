%% turn-broker for ejabberd 23.01 or later: a user who asks for STUN and TURN servers (XEP-0215) gets a credential. ejabberd compiles this
%% file, also in its container. In the home of ejabberd's user (Debian: /var/lib/ejabberd, container: /opt/ejabberd), as that user:
%%   mkdir -p .ejabberd-modules/sources/mod_turn_broker/src
%%   cp mod_turn_broker.erl .ejabberd-modules/sources/mod_turn_broker/src/
%%   echo '{summary, "turn-broker"}.' > .ejabberd-modules/sources/mod_turn_broker/mod_turn_broker.spec
%%   ejabberdctl module_install mod_turn_broker
%% docs/PROGRAMS.md says what to set then; `ejabberdctl reload_config` ends it.
%%
%% Who asks: each client once for each login. The user is the bare JID. Guests have no user and share a credential with their host as label.
%% An answer is kept until its `refreshAfter`. If the broker does not answer within 3 s, its last answer serves until it expires. One process
%% sends the requests, so no session waits. No header file is included, because its place differs.
-module(mod_turn_broker).
-behaviour(gen_mod).
-behaviour(gen_server).
-export([start/2, stop/1, reload/3, depends/2, mod_options/1, mod_opt_type/1, mod_doc/0, process_iq/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).
-define(NS, <<"urn:xmpp:extdisco:2">>).
-define(TIMEOUT_MS, 3000).
%% After an error or a refusal, the broker is asked again for the same name.
-define(RETRY_SECONDS, 10).
-define(NAMES_MAX, 10000).
-define(WAITING_MAX, 1000).

start(Host, Options) -> gen_mod:start_child(?MODULE, Host, Options).
stop(Host) -> gen_mod:stop_child(?MODULE, Host).
reload(_, _, _) -> ok.
depends(_, _) -> [].
mod_opt_type(url) -> econf:url();
mod_opt_type(key) -> econf:binary().
mod_options(_) -> [url, key].
mod_doc() -> #{desc => <<"STUN and TURN servers of turn-broker.">>}.

%% `answers` and `asked` are by the query of the request, which names the spender. `waiting` is the number of IQs in `asked`.
init([Host, _]) ->
    process_flag(trap_exit, true),
    {ok, _} = application:ensure_all_started(inets),
    gen_iq_handler:add_iq_handler(ejabberd_local, Host, ?NS, ?MODULE, process_iq),
    {ok, #{host => Host, answers => #{}, asked => #{}, waiting => 0}}.

terminate(_, #{host := Host}) -> gen_iq_handler:remove_iq_handler(ejabberd_local, Host, ?NS).
handle_call(_, _, State) -> {reply, ok, State}.

process_iq(Iq) ->
    {_, Host, _} = jid:tolower(xmpp:get_to(Iq)),
    case {xmpp:get_type(Iq), xmpp:get_els(Iq), jid:tolower(xmpp:get_from(Iq))} of
        {get, [{services, Type, _}], {_, Host, _} = From} ->
            gen_server:cast(gen_mod:get_module_proc(Host, ?MODULE), {ask, query(From), {Iq, Type}}),
            ignore;
        _ -> xmpp:make_error(Iq, xmpp:err_forbidden())
    end.

%% Guests have a new name for each login, or one that they choose. They share that of their host.
query({User, Host, Resource}) ->
    Session = ejabberd_sm:get_user_info(User, Host, Resource),
    IsGuest = is_list(Session) andalso lists:member(proplists:get_value(auth_module, Session), [anonymous, ejabberd_auth_anonymous]),
    uri_string:compose_query([case IsGuest of
        true -> {<<"label">>, binary:part(Host, 0, min(64, byte_size(Host)))};
        false -> {<<"user">>, <<User/binary, "@", Host/binary>>}
    end]).

handle_cast({ask, Query, Waits}, #{answers := Answers, asked := Asked, waiting := Waiting} = State) ->
    Now = now_seconds(),
    case {Answers, Asked} of
        {#{Query := #{ask_at := At} = Answer}, _} when Now < At ->
            reply(Waits, Answer),
            {noreply, State};
        _ when Waiting >= ?WAITING_MAX ->
            reply(Waits, #{status => 0, why => <<"too many requests wait">>}),
            {noreply, State};
        {_, #{Query := {Id, Others}}} ->
            {noreply, State#{asked := Asked#{Query := {Id, [Waits | Others]}}, waiting := Waiting + 1}};
        _ ->
            {noreply, State#{asked := Asked#{Query => {request(Query, State), [Waits]}}, waiting := Waiting + 1}}
    end.

request(Query, #{host := Host}) ->
    {Self, Id} = {self(), make_ref()},
    Option = fun(Name) -> gen_mod:get_module_opt(Host, ?MODULE, Name) end,
    Url = binary_to_list(<<(Option(url))/binary, "/api/turn-credentials?", Query/binary>>),
    Headers = [{"authorization", "Bearer " ++ binary_to_list(Option(key))}],
    Limits = [{timeout, ?TIMEOUT_MS}, {ssl, httpc:ssl_verify_host_options(true)}],
    Receiver = fun({_, Result}) -> Self ! {done, Query, Id, Result} end,
    {ok, _} = httpc:request(get, {Url, Headers}, Limits, [{sync, false}, {receiver, Receiver}, {body_format, binary}]),
    erlang:send_after(?TIMEOUT_MS, Self, {done, Query, Id, {error, timeout}}),
    Id.

handle_info({done, Query, Id, Result}, #{answers := Answers, asked := Asked, waiting := Waiting} = State) ->
    case Asked of
        #{Query := {Id, Waits}} ->
            Answer = answer(Result, maps:get(Query, Answers, #{expires => 0})),
            [reply(Each, Answer) || Each <- Waits],
            Kept = case map_size(Answers) of ?NAMES_MAX -> #{}; _ -> Answers end,
            {noreply, State#{answers := Kept#{Query => Answer}, asked := maps:remove(Query, Asked), waiting := Waiting - length(Waits)}};
        _ -> {noreply, State}
    end;
handle_info(_, State) -> {noreply, State}.

%% What is kept of a result: `services`, or else the `status` and `why` of an error.
answer({{_, 200, _}, _, Body}, Known) ->
    try read(decode(Body)) catch _:_ -> refused(0, <<"turn-broker answers no JSON">>, Known) end;
answer({{_, Status, _}, _, Body}, Known) ->
    Why = try maps:get(<<"error">>, decode(Body)) catch _:_ -> <<"turn-broker answers no JSON">> end,
    refused(Status, Why, Known);
answer({error, _}, Known) -> refused(0, <<"turn-broker does not answer">>, Known).

refused(Status, Why, #{expires := End} = Known) ->
    error_logger:warning_msg("turn-broker refuses: ~b ~ts", [Status, Why]),
    Now = now_seconds(),
    Serves = Now < End andalso Status /= 403 andalso Status /= 429,
    (case Serves of true -> Known; false -> #{expires => 0, status => Status, why => Why} end)#{ask_at => Now + ?RETRY_SECONDS}.

%% A degraded answer has no times, and is kept for a minute.
read(#{<<"iceServers">> := Servers} = Answer) ->
    Time = fun(Name) -> calendar:rfc3339_to_system_time(binary_to_list(maps:get(Name, Answer))) end,
    Fresh = case Answer of #{<<"refreshAfter">> := _} -> Time(<<"refreshAfter">>) - Time(<<"issuedAt">>); _ -> 60 end,
    Services = [service(Server, Url, Answer) || #{<<"urls">> := Urls} = Server <- Servers, Url <- Urls],
    #{services => Services, ask_at => now_seconds() + Fresh, expires => now_seconds() + maps:get(<<"ttl">>, Answer, 60)}.

service(Server, Url, Answer) ->
    {match, [Type, Host, Port, Transport]} = re:run(Url, <<"^(\\w+):\\[?(.+?)\\]?(?::(\\d+))?(?:\\?transport=(\\w+))?$">>,
        [{capture, [1, 2, 3, 4], binary}]),
    {DefaultPort, DefaultTransport} = case binary:last(Type) of $s -> {<<"5349">>, <<"tcp">>}; _ -> {<<"3478">>, <<"udp">>} end,
    Or = fun(<<>>, Default) -> Default; (Given, _) -> Given end,
    Address = [{<<"type">>, Type}, {<<"host">>, Host}, {<<"port">>, Or(Port, DefaultPort)}, {<<"transport">>, Or(Transport, DefaultTransport)}],
    case {Server, Answer} of
        {#{<<"username">> := Name, <<"credential">> := Password}, #{<<"expiresAt">> := End}} ->
            Address ++ [{<<"username">>, Name}, {<<"password">>, Password}, {<<"expires">>, End}, {<<"restricted">>, <<"true">>}];
        _ -> Address
    end.

reply({Iq, Type}, #{services := Services}) ->
    Wanted = case Type of undefined -> []; _ -> [{<<"type">>, atom_to_binary(Type, latin1)}] end,
    List = [{xmlel, <<"service">>, Each, []} || Each <- Services, Wanted == [] orelse hd(Each) == hd(Wanted)],
    ejabberd_router:route(xmpp:make_iq_result(Iq, {xmlel, <<"services">>, [{<<"xmlns">>, ?NS} | Wanted], List}));
reply({Iq, _}, #{status := Status, why := Why}) ->
    Error = case Status of
        429 -> xmpp:err_resource_constraint(Why, <<"en">>);
        403 -> xmpp:err_not_allowed(Why, <<"en">>);
        _ -> xmpp:err_internal_server_error(Why, <<"en">>)
    end,
    ejabberd_router:route_error(Iq, Error).

now_seconds() -> erlang:system_time(second).

%% OTP has `json` since version 27. An ejabberd on an older OTP has jiffy.
decode(Body) ->
    code:ensure_loaded(json),
    case erlang:function_exported(json, decode, 1) of
        true -> json:decode(Body);
        false -> jiffy:decode(Body, [return_maps])
    end.
