package call

import (
	"encoding/json"
	"fmt"
	"github.com/pion/webrtc/v4"
	"net/http"
)

// Start returns a peer connection and its grant. Nothing is renewed: TURN_TTL_SECONDS must be longer than the longest call.
func Start(broker string) (*webrtc.PeerConnection, string, error) {
	answer, err := http.Get(broker + "/api/turn-credentials")
	if err != nil {
		return nil, "", err
	}
	defer answer.Body.Close()
	var minted struct {
		IceServers           []webrtc.ICEServer
		Grant, Code, Message string
	}
	if json.NewDecoder(answer.Body).Decode(&minted) != nil || minted.Code != "" { // BUDGET_EXHAUSTED, USER_BLOCKED, …
		return nil, "", fmt.Errorf("%s %s %s", answer.Status, minted.Code, minted.Message)
	}
	pc, err := webrtc.NewPeerConnection(webrtc.Configuration{ICEServers: minted.IceServers})
	return pc, minted.Grant, err
}
