// Package call makes a call from Go. Nothing is renewed: TURN_TTL_SECONDS must be longer than the longest call.
package call

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/pion/webrtc/v4"
)

// Start returns a peer connection, and the grant with which its bytes are reported.
func Start(broker string) (pc *webrtc.PeerConnection, grant string, err error) {
	answer, err := http.Get(broker + "/api/turn-credentials")
	if err != nil {
		return nil, "", err
	}
	defer answer.Body.Close()
	var minted struct {
		IceServers           []webrtc.ICEServer
		Grant, Code, Message string
	}
	if err = json.NewDecoder(answer.Body).Decode(&minted); err == nil && minted.Code != "" {
		err = fmt.Errorf("%s: %s", minted.Code, minted.Message) // BUDGET_EXHAUSTED, USER_BLOCKED, …
	}
	if err != nil {
		return nil, "", err
	}
	pc, err = webrtc.NewPeerConnection(webrtc.Configuration{ICEServers: minted.IceServers})
	return pc, minted.Grant, err
}
