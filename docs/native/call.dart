// A call from Flutter. Nothing is renewed: TURN_TTL_SECONDS must be longer than the longest call. flutter pub add flutter_webrtc http
import 'dart:async';
import 'dart:convert';
import 'package:flutter_webrtc/flutter_webrtc.dart';
import 'package:http/http.dart' as http;

Future<RTCPeerConnection> startCall(String broker) async {
  final minted = jsonDecode((await http.get(Uri.parse('$broker/api/turn-credentials'))).body);
  if (minted['iceServers'] == null) throw Exception('${minted['code']}: ${minted['message']}'); // BUDGET_EXHAUSTED, …
  final pc = await createPeerConnection({'iceServers': minted['iceServers']});
  final headers = {'Authorization': 'Bearer ${minted['grant']}', 'Content-Type': 'application/json'};
  Future<String> post(String path, Map body) async =>
      (await http.post(Uri.parse('$broker/api/connections$path'), headers: headers, body: jsonEncode(body))).body;
  Timer? timer;
  pc.onConnectionState = (state) async {
    if (state == RTCPeerConnectionState.RTCPeerConnectionStateClosed) timer?.cancel();
    if (state != RTCPeerConnectionState.RTCPeerConnectionStateConnected || timer != null || minted['grant'] == null) return;
    final opened = jsonDecode(await post('', {}));
    timer = Timer.periodic(Duration(seconds: opened['heartbeatSeconds']), (_) async {
      final transports = (await pc.getStats()).where((one) => one.type == 'transport');
      post('/${opened['connectionId']}/heartbeat', {for (final one in transports) 'bytesReceived': one.values['bytesReceived']});
    });
  };
  return pc;
}
