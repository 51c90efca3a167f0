package natstest

import (
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy is a TCP proxy in front of one server, which a test makes slow, deaf or
// dead.
type Proxy struct {
	listener net.Listener
	target   string

	mu      sync.Mutex
	changed sync.Cond
	blocked bool
	delay   time.Duration
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

// Delay delays all bytes by d from now on.
func (p *Proxy) Delay(d time.Duration) { p.set(func() { p.delay = d }) }

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
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if !p.wait() {
			return
		}
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// wait returns when bytes may pass, and reports whether the proxy is open.
func (p *Proxy) wait() bool {
	p.mu.Lock()
	delay := p.delay
	p.mu.Unlock()
	if delay > 0 {
		time.Sleep(delay)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.blocked && !p.closed {
		p.changed.Wait()
	}
	return !p.closed
}
