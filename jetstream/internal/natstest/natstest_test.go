package natstest_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill/jetstream/internal/natstest"
)

func TestMain(m *testing.M) {
	natstest.Main()
	os.Exit(m.Run())
}

func TestOneServer(t *testing.T) {
	s := natstest.Start(t, nil)
	publish(t, s.Connect(t), 1)
}

func TestServersThatAreKilled(t *testing.T) {
	s := natstest.StartProcesses(t, 3, nil)
	conn := s.Connect(t)
	publish(t, conn, 3)
	s.Nodes[0].Kill()
	require.NoError(t, s.Nodes[0].Restart())
	require.NoError(t, s.WaitReady())
	require.NoError(t, s.Nodes[1].Freeze())
	require.NoError(t, s.Nodes[1].Thaw())
}

func TestProxyHoldsBack(t *testing.T) {
	s := natstest.Start(t, nil)
	p := natstest.StartProxy(t, s.Nodes[0])
	conn := natstest.Connect(t, p.URL(), nats.IgnoreDiscoveredServers(), nats.PingInterval(time.Hour))
	require.NoError(t, conn.FlushTimeout(10*time.Second))
	p.Block()
	require.Error(t, conn.FlushTimeout(100*time.Millisecond))
	p.Unblock()
	require.NoError(t, conn.FlushTimeout(10*time.Second))
}

func TestProxyLosesMessages(t *testing.T) {
	s := natstest.Start(t, nil)
	p := natstest.StartProxy(t, s.Nodes[0])
	conn := natstest.Connect(t, p.URL(), nats.IgnoreDiscoveredServers())
	publish(t, conn, 1)
	p.Lose(1)
	_, err := conn.Request("$JS.API.INFO", nil, 100*time.Millisecond)
	require.ErrorIs(t, err, nats.ErrTimeout)
	require.NoError(t, conn.FlushTimeout(10*time.Second), "the connection lasts")
	require.Positive(t, p.Lost())
	p.Lose(0)
	_, err = conn.Request("$JS.API.INFO", nil, 10*time.Second)
	require.NoError(t, err)
}

func publish(t *testing.T, conn *nats.Conn, replicas int) {
	js, err := jetstream.New(conn)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_, err = js.CreateStream(ctx, jetstream.StreamConfig{Name: "s", Subjects: []string{"s"}, Replicas: replicas})
	require.NoError(t, err)
	_, err = js.Publish(ctx, "s", []byte("hello"))
	require.NoError(t, err)
}
