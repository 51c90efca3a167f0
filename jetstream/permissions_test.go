package jetstream_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill/jetstream"
	"github.com/twillgo/twill/jetstream/internal/natstest"
)

// sharedPermissions are the least permissions with which a pooler called p, the
// locks and semaphores, and the dict in the bucket d work. docs/shared.md has
// the same list.
var sharedPermissions = server.Permissions{
	Publish: &server.SubjectPermission{Allow: []string{
		"$JS.API.STREAM.INFO.KV_twill-pooler-p", "$JS.API.STREAM.CREATE.KV_twill-pooler-p",
		"$JS.API.STREAM.MSG.GET.KV_twill-pooler-p", "$KV.twill-pooler-p.>", "twill.pooler.p.*",

		"$JS.API.STREAM.INFO.KV_twill-locks", "$JS.API.STREAM.CREATE.KV_twill-locks",
		"$JS.API.STREAM.MSG.GET.KV_twill-locks", "$KV.twill-locks.>", "twill.wake.twill-locks.>",
		"$JS.API.STREAM.INFO.KV_twill-locks-limits", "$JS.API.STREAM.CREATE.KV_twill-locks-limits",
		"$JS.API.STREAM.MSG.GET.KV_twill-locks-limits", "$KV.twill-locks-limits.>",

		"$JS.API.STREAM.INFO.KV_d", "$JS.API.STREAM.CREATE.KV_d", "$JS.API.STREAM.MSG.GET.KV_d", "$KV.d.>",
		"$JS.API.CONSUMER.CREATE.KV_d.>", "$JS.API.CONSUMER.DELETE.KV_d.>", "$JS.FC.KV_d.>",
	}},
	Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>", "twill.pooler.p.*", "twill.wake.twill-locks.>"}},
	Response:  &server.ResponsePermission{MaxMsgs: 1, Expires: time.Minute},
}

func TestLeastPermissions(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, &natstest.Options{Change: func(o *server.Options) {
		account := server.NewAccount("A")
		o.Accounts = []*server.Account{account}
		o.Users = []*server.User{{Username: "u", Password: "secret", Account: account, Permissions: &sharedPermissions}}
	}})
	account, err := s.Nodes[0].Server().LookupAccount("A")
	require.NoError(t, err)
	require.NoError(t, account.EnableJetStream(nil, nil))
	var violations atomic.Int64
	connect := func() *nats.Conn {
		return s.Connect(t, nats.UserInfo("u", "secret"), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrPermissionViolation) {
				violations.Add(1)
				t.Log(err)
			}
		}))
	}
	ctx := withPatience(t)

	open := make(chan bool)
	var all []*jetstream.Pooler[string, int]
	for range 2 {
		all = append(all, pooler(t, connect(), nil, func(context.Context, string) (int, error) {
			<-open
			return 1, nil
		}))
	}
	first, second := all[0].Call(ctx, "k"), all[1].Call(ctx, "k")
	joined(t, all, 1)
	close(open)
	for _, f := range []interface {
		Await(context.Context) (int, error)
	}{first, second} {
		_, err := f.Await(ctx)
		require.NoError(t, err)
	}

	here, there := newLock(t, connect(), "l", nil), newLock(t, connect(), "l", nil)
	lease, err := here.AcquireWait(ctx)
	require.NoError(t, err)
	waiting := there.Acquire()
	time.Sleep(20 * time.Millisecond) // until it waits
	require.NoError(t, lease.Release())
	_, err = waiting.Await(ctx)
	require.NoError(t, err)
	sem, err := jetstream.NewSemaphore(ctx, connect(), "s", 2, nil)
	require.NoError(t, err)
	require.NoError(t, sem.Resize(ctx, 3))

	a, b := newDict[int](t, connect(), nil), newDict[int](t, connect(), nil)
	get := a.Get("k")
	waits(t, a, 1)
	require.NoError(t, b.Set(ctx, "k", 1))
	_, err = get.Await(ctx)
	require.NoError(t, err)
	_, err = b.Delete(ctx, "k")
	require.NoError(t, err)
	a.Close(nil)
	b.Close(nil)
	require.Zero(t, violations.Load())
}
