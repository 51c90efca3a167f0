package jetstream_test

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/jetstream"
	"github.com/twillgo/twill/jetstream/internal/natstest"
)

// The permissions of a process that puts jobs, and of one that runs them and
// may schedule, for the queue "sms". The README shows the same as a
// configuration.
var (
	putterPublish = []string{
		"twill.sms.in", "twill.sms.ask", "twill.sms.out.*", "$JS.API.STREAM.MSG.GET.TWILL-sms-out",
		"$JS.API.STREAM.INFO.TWILL-sms-in", "$JS.API.STREAM.INFO.TWILL-sms-journal", "$JS.API.STREAM.INFO.TWILL-sms-out",
	}
	putterSubscribe = []string{"twill.sms.beat", "twill.sms.events", "twill.sms.to.*", "_INBOX.>"}
	workerPublish   = []string{
		"twill.sms.*", "twill.sms.out.*", "twill.sms.to.*", "_INBOX.>",
		"$JS.API.STREAM.INFO.TWILL-sms-in", "$JS.API.STREAM.INFO.TWILL-sms-journal", "$JS.API.STREAM.INFO.TWILL-sms-out",
		"$JS.API.STREAM.MSG.GET.TWILL-sms-journal", "$JS.API.STREAM.MSG.GET.TWILL-sms-out",
		"$JS.API.STREAM.PURGE.TWILL-sms-in", "$JS.API.STREAM.PURGE.TWILL-sms-journal",
		"$JS.API.CONSUMER.*.TWILL-sms-in.>", "$JS.API.CONSUMER.*.TWILL-sms-journal.>", "$JS.API.CONSUMER.*.TWILL-sms-out.>",
		"$JS.API.CONSUMER.MSG.NEXT.TWILL-sms-in.*", "$JS.API.CONSUMER.MSG.NEXT.TWILL-sms-journal.*", "$JS.API.CONSUMER.MSG.NEXT.TWILL-sms-out.*",
	}
	workerSubscribe = []string{"twill.sms.beat", "twill.sms.events", "twill.sms.ask", "twill.sms.to.*", "_INBOX.>"}
)

func user(account *server.Account, name string, publish, subscribe []string) *server.User {
	return &server.User{Username: name, Password: "secret", Account: account, Permissions: &server.Permissions{
		Publish: &server.SubjectPermission{Allow: publish}, Subscribe: &server.SubjectPermission{Allow: subscribe},
	}}
}

// Processes work with the least permissions, and are refused what they have no
// permission for.
func TestLeastPermissionsOfAQueue(t *testing.T) {
	t.Parallel()
	servers := natstest.Start(t, &natstest.Options{Change: func(o *server.Options) {
		account := server.NewAccount("A")
		o.Accounts = []*server.Account{account}
		o.Users = []*server.User{
			user(account, "operator", []string{">"}, []string{">"}),
			user(account, "putter", putterPublish, putterSubscribe),
			user(account, "worker", workerPublish, workerSubscribe),
		}
	}})
	account, err := servers.Nodes[0].Server().LookupAccount("A")
	require.NoError(t, err)
	require.NoError(t, account.EnableJetStream(nil, nil))
	url := func(name string) string {
		return strings.Replace(servers.URL(), "nats://", "nats://"+name+":secret@", 1)
	}
	// The operator makes the streams.
	q, err := jetstream.NewQueue[string, string](withPatience(t), natstest.Connect(t, url("operator")), "sms", nil, nil)
	require.NoError(t, err)
	q.Close()

	refused := make(chan error, 100)
	onError := nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err })
	worker, err := jetstream.NewQueue(withPatience(t), natstest.Connect(t, url("worker"), onError), "sms", echo, &jetstream.Options{Lease: lease})
	require.NoError(t, err)
	defer worker.Close()
	putterConn := natstest.Connect(t, url("putter"), onError)
	putter, err := jetstream.NewQueue[string, string](withPatience(t), putterConn, "sms", nil, &jetstream.Options{Lease: lease})
	require.NoError(t, err)
	defer putter.Close()
	job, err := putter.Put("a", 0)
	require.NoError(t, err)
	v, err := await(t, job)
	require.NoError(t, err)
	require.Equal(t, "did a", v)
	require.NoError(t, putter.SetWidth(3))
	events := putter.Events(withPatience(t))
	require.NoError(t, putter.SetRate(1000, 10))
	for e := range events {
		require.Equal(t, twill.EventRate, e.Kind)
		break
	}
	results := worker.Results(withPatience(t))
	_, err = putter.Pause().Await(withPatience(t))
	require.NoError(t, err)
	job, err = putter.Put("b", 0)
	require.NoError(t, err)
	require.Len(t, putter.Pending(), 1)
	require.True(t, job.Cancel(nil))
	for o, err := range results {
		require.NoError(t, err)
		require.Equal(t, job.ID(), o.Job)
		break
	}
	_, err = worker.Stop().Await(withPatience(t))
	require.NoError(t, err)
	require.Empty(t, refused)

	require.NoError(t, putterConn.Publish("twill.sms.journal", []byte("{}")))
	select {
	case err := <-refused:
		require.ErrorIs(t, err, nats.ErrPermissionViolation)
	case <-time.After(patience):
		t.Fatal("a putter may write the journal")
	}
}
