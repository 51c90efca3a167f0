// Package natstest starts NATS servers for tests: one, or a cluster of three,
// with file storage, on free ports of the loopback interface. They run in the
// test's process, or as processes of their own where a test kills them.
package natstest

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Options are the settings of servers. The zero value of each field is its
// default; a nil pointer means all defaults.
type Options struct {
	SyncAlways bool // sync to disk before each acknowledgment
	MaxPayload int  // 0 means that of the server, 1 MiB

	// Change is called with the options of each server before it is started, for
	// accounts and what else a test needs. It has no effect on servers that are
	// processes of their own.
	Change func(o *server.Options)
}

// Servers are servers that belong together.
type Servers struct {
	Nodes []*Node
}

// Node is one server. In a cluster it can be stopped and started again: it
// keeps its ports and its folder.
type Node struct {
	Name        string
	Port        int
	clusterPort int
	dir         string
	routes      string
	opts        Options

	server  *server.Server // in this process
	process *process       // else
}

// Start starts one server in this process. It is stopped when the test ends.
func Start(t testing.TB, opts *Options) *Servers { return start(t, 1, opts, false) }

// StartCluster starts a cluster of three servers in this process. They are
// stopped when the test ends.
func StartCluster(t testing.TB, opts *Options) *Servers { return start(t, 3, opts, false) }

// StartProcesses starts n servers, 1 or 3, as processes of their own, which can
// be killed. They are the binary of the test: its TestMain has to call [Main].
// They are killed when the test ends.
func StartProcesses(t testing.TB, n int, opts *Options) *Servers { return start(t, n, opts, true) }

// patience bounds each wait of this package. Servers start within two seconds
// on an idle machine.
const patience = time.Minute

func start(t testing.TB, n int, opts *Options, processes bool) *Servers {
	t.Helper()
	var o Options
	if opts != nil {
		o = *opts
	}
	s := &Servers{}
	dir := t.TempDir()
	ports, err := freePorts(2 * n)
	if err != nil {
		t.Fatal("natstest: ", err)
	}
	var routes []string
	for i := range n {
		node := &Node{Name: "n" + strconv.Itoa(i+1), Port: ports[2*i], clusterPort: ports[2*i+1], opts: o}
		node.dir = dir + "/" + node.Name
		routes = append(routes, "nats://127.0.0.1:"+strconv.Itoa(node.clusterPort))
		s.Nodes = append(s.Nodes, node)
	}
	t.Cleanup(func() {
		for _, node := range s.Nodes {
			node.Kill()
		}
	})
	for _, node := range s.Nodes {
		if n > 1 {
			node.routes = strings.Join(routes, ",")
		}
		if err := node.start(processes); err != nil {
			t.Fatal("natstest: ", err)
		}
	}
	if err := s.WaitReady(); err != nil {
		t.Fatal("natstest: ", err)
	}
	return s
}

// freePorts returns n ports on which nothing listens.
func freePorts(n int) (ports []int, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // when all are known, so that they differ
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// URL returns the addresses of all servers, as [nats.Connect] takes them.
func (s *Servers) URL() string {
	var all []string
	for _, node := range s.Nodes {
		all = append(all, node.URL())
	}
	return strings.Join(all, ",")
}

// WaitReady returns when JetStream answers, and in a cluster when it has a
// leader and all servers are members.
func (s *Servers) WaitReady() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, node := range s.Nodes {
		if err := node.waitReady(ctx, len(s.Nodes)); err != nil {
			return fmt.Errorf("server %s: %w", node.Name, err)
		}
	}
	return nil
}

// Connect returns a connection to the servers with short timeouts, which is
// closed when the test ends.
func (s *Servers) Connect(t testing.TB, opts ...nats.Option) *nats.Conn {
	t.Helper()
	return Connect(t, s.URL(), opts...)
}

// Connect returns a connection with short timeouts, which is closed when the
// test ends.
func Connect(t testing.TB, url string, opts ...nats.Option) *nats.Conn {
	t.Helper()
	conn, err := nats.Connect(url, append(ClientOptions(), opts...)...)
	if err != nil {
		t.Fatal("natstest: connecting: ", err)
	}
	t.Cleanup(conn.Close)
	return conn
}

// ClientOptions are the options of a connection that lasts as long as its owner
// and notices within two seconds or so that its server is gone.
func ClientOptions() []nats.Option {
	return []nats.Option{
		nats.Timeout(5 * time.Second), nats.ReconnectWait(50 * time.Millisecond), nats.ReconnectJitter(50*time.Millisecond, 0),
		nats.MaxReconnects(-1), nats.PingInterval(time.Second), nats.MaxPingsOutstanding(2), nats.RetryOnFailedConnect(false),
	}
}

// URL returns the server's address.
func (n *Node) URL() string { return "nats://127.0.0.1:" + strconv.Itoa(n.Port) }

// Server returns the server if it runs in this process, else nil.
func (n *Node) Server() *server.Server { return n.server }

// Kill ends the server at once. In this process it is shut down instead.
func (n *Node) Kill() {
	if n.process != nil {
		n.process.kill()
		n.process = nil
	}
	if n.server != nil {
		n.server.Shutdown()
		n.server.WaitForShutdown()
		n.server = nil
	}
}

// Freeze stops the process of the server with SIGSTOP, and Thaw lets it go on.
func (n *Node) Freeze() error { return n.process.freeze() }

// Thaw ends a Freeze.
func (n *Node) Thaw() error { return n.process.thaw() }

// Restart starts the server again with its folder and its ports.
func (n *Node) Restart() error {
	processes := n.process != nil || n.server == nil && n.opts.Change == nil && childMode
	n.Kill()
	return n.start(processes)
}

func (n *Node) start(processes bool) error {
	if processes {
		p, err := n.startProcess()
		n.process = p
		return err
	}
	s, err := n.startServer()
	n.server = s
	return err
}

func (n *Node) startServer() (*server.Server, error) {
	o := n.serverOptions()
	if n.opts.Change != nil {
		n.opts.Change(o)
	}
	s, err := server.NewServer(o)
	if err != nil {
		return nil, err
	}
	s.Start()
	if !s.ReadyForConnections(patience) {
		s.Shutdown()
		return nil, fmt.Errorf("server %s accepts no connections", n.Name)
	}
	return s, nil
}

func (n *Node) serverOptions() *server.Options {
	o := &server.Options{
		ServerName: n.Name, Host: "127.0.0.1", Port: n.Port, NoLog: true, NoSigs: true,
		JetStream: true, StoreDir: n.dir, JetStreamMaxMemory: 256 << 20, JetStreamMaxStore: 4 << 30,
		SyncAlways: n.opts.SyncAlways, MaxPayload: int32(n.opts.MaxPayload),
		DisableShortFirstPing: true,
	}
	if n.routes != "" {
		o.Cluster = server.ClusterOpts{Name: "natstest", Host: "127.0.0.1", Port: n.clusterPort}
		for _, route := range strings.Split(n.routes, ",") {
			u, err := url.Parse(route)
			if err != nil {
				panic(err) // made by start
			}
			o.Routes = append(o.Routes, u)
		}
	}
	return o
}

// waitReady waits until JetStream answers at this server, and all members are
// there.
func (n *Node) waitReady(ctx context.Context, members int) error {
	if n.opts.Change != nil { // the test's accounts may not let this package ask
		for n.server != nil && ctx.Err() == nil {
			if members == 1 && n.server.JetStreamEnabled() || n.server.JetStreamIsCurrent() && len(n.server.JetStreamClusterPeers()) == members {
				return nil
			}
			time.Sleep(10 * time.Millisecond)
		}
		return ctx.Err()
	}
	var last error
	for ctx.Err() == nil {
		if last = n.ask(ctx, members); last == nil {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("not ready: %w", last)
}

// ask makes and deletes a stream with a copy on each member.
func (n *Node) ask(ctx context.Context, members int) error {
	conn, err := nats.Connect(n.URL(), nats.Timeout(2*time.Second), nats.NoReconnect())
	if err != nil {
		return err
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	name := "natstest-" + n.Name + "-" + strconv.Itoa(os.Getpid())
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: name, Subjects: []string{name}, Replicas: members}); err != nil {
		return err
	}
	return js.DeleteStream(ctx, name)
}
