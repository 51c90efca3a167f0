package main

import (
	"context"
	"fmt"
	"net"
	"time"
)

// source is a poem and the address of its server.
type source struct {
	title, addr string
}

// startServers starts a server for each poem, each on its own loopback port;
// they end with ctx. Each server is faster than the one before. The third
// breaks off in the middle, and the last address has no server.
func startServers(ctx context.Context, size int, delay time.Duration) ([]source, error) {
	poems := []struct{ title, text string }{
		{"The Tyger", "Tyger Tyger, burning bright,\nIn the forests of the night;\nWhat immortal hand or eye,\nCould frame thy fearful symmetry?\n"},
		{"Who Has Seen the Wind?", "Who has seen the wind?\nNeither I nor you:\nBut when the leaves hang trembling,\nThe wind is passing through.\n"},
		{"Ozymandias", "I met a traveller from an antique land,\nWho said: Two vast and trunkless legs of stone\nStand in the desert.\n"},
		{"Hope", "Hope is the thing with feathers\nThat perches in the soul,\nAnd sings the tune without the words,\nAnd never stops at all,\n"},
		{"The Raven", ""},
	}
	var sources []source
	for i, poem := range poems {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		sources = append(sources, source{poem.title, listener.Addr().String()})
		if poem.text == "" {
			_ = listener.Close() // connections to it are refused
			continue
		}
		context.AfterFunc(ctx, func() { _ = listener.Close() })
		end := len(poem.text)
		if poem.title == "Ozymandias" {
			end = 40
		}
		pause := delay * time.Duration(len(poems)-i)
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				go send(ctx, conn, poem.text, end, size, pause)
			}
		}()
	}
	return sources, nil
}

// send sends the length of a poem, and then the poem up to end, a few bytes at
// a time.
func send(ctx context.Context, conn net.Conn, text string, end, size int, pause time.Duration) {
	defer func() { _ = conn.Close() }()
	if _, err := fmt.Fprintln(conn, len(text)); err != nil {
		return
	}
	for at := 0; at < end; at += size {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		if _, err := conn.Write([]byte(text[at:min(at+size, end)])); err != nil {
			return // the client has left
		}
	}
}
