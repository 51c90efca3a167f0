package natstest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Proxy is a proxy in front of one server, which a test makes slow, deaf or
// dead, and which loses messages if a test says so.
type Proxy struct {
	listener net.Listener
	target   string

	mu      sync.Mutex
	changed sync.Cond
	blocked bool
	delay   time.Duration
	lossy   float64
	lost    int
	conns   map[net.Conn]bool
	closed  bool
}

// StartProxy starts a proxy in front of the server. It is closed when the test
// ends.
func StartProxy(t testing.TB, n *Node) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal("natstest: ", err)
	}
	p := &Proxy{listener: l, target: n.URL()[len("nats://"):], conns: map[net.Conn]bool{}}
	p.changed.L = &p.mu
	go p.accept()
	t.Cleanup(p.close)
	return p
}

// URL returns the address of the proxy. Connect with
// [nats.IgnoreDiscoveredServers] or to a single server: a client that learns
// the server's own address goes around the proxy.
func (p *Proxy) URL() string { return "nats://" + p.listener.Addr().String() }

// Block holds back all bytes, both ways, without closing a connection, until
// Unblock. New connections are accepted and held back, too.
func (p *Proxy) Block() { p.set(func() { p.blocked = true }) }

// Unblock ends a Block: what was held back is delivered.
func (p *Proxy) Unblock() { p.set(func() { p.blocked = false }) }

// Delay delays what passes by d from now on, each way.
func (p *Proxy) Delay(d time.Duration) { p.set(func() { p.delay = d }) }

// Lose loses a part of the messages, from 0 to 1, both ways: requests and
// answers, acknowledgments and what is delivered. Everything else passes, as
// the connection itself lasts.
func (p *Proxy) Lose(part float64) { p.set(func() { p.lossy = part }) }

// Lost returns how many messages were lost.
func (p *Proxy) Lost() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lost
}

// Cut closes all connections.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

func (p *Proxy) set(change func()) {
	p.mu.Lock()
	change()
	p.mu.Unlock()
	p.changed.Broadcast()
}

func (p *Proxy) close() {
	p.set(func() { p.closed = true })
	_ = p.listener.Close()
	p.Cut()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.conns[client], p.conns[server] = true, true
		p.mu.Unlock()
		go p.copy(client, server)
		go p.copy(server, client)
	}
}

func (p *Proxy) copy(to, from net.Conn) {
	defer func() {
		_ = to.Close()
		_ = from.Close()
		p.mu.Lock()
		delete(p.conns, to)
		delete(p.conns, from)
		p.mu.Unlock()
	}()
	r := bufio.NewReaderSize(from, 64<<10)
	for {
		quiet := r.Buffered() == 0
		frame, message, err := readFrame(r)
		if err != nil || !p.wait(quiet) {
			return
		}
		if message && p.loses() {
			continue
		}
		if _, err := to.Write(frame); err != nil {
			return
		}
	}
}

// loses reports whether the next message is lost.
func (p *Proxy) loses() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	lost := rand.Float64() < p.lossy
	if lost {
		p.lost++
	}
	return lost
}

// readFrame reads a line of the protocol of NATS and, if it is that of a
// message, its payload, whose size is the last word of the line.
func readFrame(r *bufio.Reader) (frame []byte, message bool, err error) {
	line, err := r.ReadBytes('\n')
	if err != nil {
		return nil, false, err
	}
	words := bytes.Fields(line)
	if len(words) < 3 || !messageVerbs[strings.ToUpper(string(words[0]))] {
		return line, false, nil
	}
	size, err := strconv.Atoi(string(words[len(words)-1]))
	if err != nil || size < 0 {
		return nil, false, fmt.Errorf("natstest: line %q", line)
	}
	frame = append(line, make([]byte, size+len("\r\n"))...)
	_, err = io.ReadFull(r, frame[len(line):])
	return frame, true, err
}

// messageVerbs are the first words of messages: from a client, and to it.
var messageVerbs = map[string]bool{"PUB": true, "HPUB": true, "MSG": true, "HMSG": true}

// wait returns when bytes may pass, and reports whether the proxy is open. What
// follows at once is not delayed once more.
func (p *Proxy) wait(delayed bool) bool {
	p.mu.Lock()
	delay := p.delay
	p.mu.Unlock()
	if delayed && delay > 0 {
		time.Sleep(delay)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.blocked && !p.closed {
		p.changed.Wait()
	}
	return !p.closed
}
