// Two ends of docs/native/call.go, over the relay: prints what came back, and whether it was relayed.
package main

import (
	"call"
	"fmt"
	"os"
	"strings"

	"github.com/pion/webrtc"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// describe takes the description that was made, gathers all candidates, and returns it with them.
func describe(pc *webrtc.PeerConnection, description webrtc.SessionDescription, err error) webrtc.SessionDescription {
	must(err)
	gathered := webrtc.GatheringCompletePromise(pc)
	must(pc.SetLocalDescription(description))
	<-gathered
	return *pc.LocalDescription()
}

func main() {
	one, grant, err := call.Start(os.Args[1])
	must(err)
	other, _, err := call.Start(os.Args[1])
	must(err)
	echoed := make(chan int)
	channel, err := one.CreateDataChannel("echo", nil)
	must(err)
	channel.OnOpen(func() { must(channel.SendText(strings.Repeat("x", 50000))) })
	channel.OnMessage(func(message webrtc.DataChannelMessage) { echoed <- len(message.Data) })
	other.OnDataChannel(func(made *webrtc.DataChannel) {
		made.OnMessage(func(message webrtc.DataChannelMessage) { must(made.Send(message.Data)) })
	})
	offer, err := one.CreateOffer(nil)
	offer = describe(one, offer, err)
	must(other.SetRemoteDescription(offer))
	answer, err := other.CreateAnswer(nil)
	must(one.SetRemoteDescription(describe(other, answer, err)))
	fmt.Println(<-echoed, strings.Contains(offer.SDP, "typ relay"), grant != "")
	must(one.Close())
	must(other.Close())
}
