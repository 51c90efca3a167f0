// Console shows and controls two queues under changing load, on a page in the
// browser: some jobs are slow, some fail, one is stuck. It runs until Ctrl-C.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/admin"
)

// message is the argument of the jobs of the queue "sms".
type message struct {
	To   string
	Text string
}

func main() {
	addr := flag.String("addr", "127.0.0.1:8321", "`address` to listen on")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *addr); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, addr string) error {
	twill.OnUnhandled(nil) // the page shows the jobs that fail
	sms := twill.NewResizableDispatchQueue(send, &twill.DispatchOptions{
		Width:      8,
		GroupLimit: twill.GroupLimit{Width: 6}, // for each network
		Retry:      &twill.RetryOptions{Backoff: twill.LimitBackoff(twill.SimpleBackoff(), 3)},
	})
	if err := sms.SetGroupLimit("network C", twill.GroupLimit{Width: 3}); err != nil { // a narrow line, which holds up only its own
		return err
	}
	thumbs := twill.NewResizableDispatchQueue(resize, &twill.DispatchOptions{Width: 3, Timeout: time.Minute})

	page := admin.New(admin.Options{Insecure: true}) // loopback clients only
	defer page.Close()
	shown := admin.DispatchOptions[message]{Show: func(m message) string { return m.To + ": " + m.Text }, Stacks: true}
	if err := errors.Join(
		page.Add("sms", admin.Dispatch(sms, shown)),
		page.Add("thumbnails", admin.Dispatch(thumbs, admin.DispatchOptions[string]{Show: func(s string) string { return s }, Stacks: true})),
	); err != nil {
		return err
	}
	// A pool can be shown too.
	var uploads twill.Pool
	page.AddPool("uploads", &uploads)
	page.AddSemaphore("gateway", twill.NewSemaphore(4))

	mux := http.NewServeMux()
	mux.Handle("/queues/", http.StripPrefix("/queues", page))
	mux.Handle("/{$}", http.RedirectHandler("/queues/", http.StatusSeeOther))
	server := admin.NewServer(addr, mux)
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	fmt.Printf("http://%s/queues/\n", listener.Addr())

	go load(ctx, sms, thumbs)
	go func() {
		<-ctx.Done()
		page.Close() // ends the streams, which a shutdown waits for
		server.Shutdown(context.Background())
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	sms.StopNow()
	thumbs.StopNow()
	return nil
}

// send is sometimes slow, and sometimes fails.
func send(ctx context.Context, m message) (string, error) {
	delay := time.Duration(rand.ExpFloat64() * float64(150*time.Millisecond))
	if rand.IntN(50) == 0 {
		delay += 3 * time.Second
	}
	select {
	case <-time.After(delay):
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	switch n := rand.IntN(100); {
	case n < 6:
		return "", fmt.Errorf("gateway http://api:secret@gateway.example answered 503 for %s", m.To)
	case n == 6:
		panic("no route for " + m.To)
	}
	return "delivered", nil
}

// resize hangs at one picture until its job is canceled or its time limit is
// exceeded.
func resize(ctx context.Context, file string) (int, error) {
	if file == "broken.tiff" {
		return decodeForever(ctx)
	}
	select {
	case <-time.After(200*time.Millisecond + rand.N(600*time.Millisecond)):
		return len(file), nil
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

func decodeForever(ctx context.Context) (int, error) {
	<-ctx.Done()
	return 0, context.Cause(ctx)
}

// load puts jobs, more and fewer in turn.
func load(ctx context.Context, sms *twill.ResizableDispatchQueue[message, string], thumbs *twill.ResizableDispatchQueue[string, int]) {
	thumbs.Put("broken.tiff", 0, twill.JobOptions{Timeout: 24 * time.Hour})
	began := time.Now()
	for n := 1; ctx.Err() == nil; n++ {
		wave := 1 + math.Sin(time.Since(began).Seconds()/20)
		pause := time.Duration(float64(35*time.Millisecond) / (0.3 + wave))
		m := message{To: fmt.Sprintf("+49 151 %07d", rand.IntN(10_000_000)), Text: fmt.Sprintf("Your code is %06d", rand.IntN(1_000_000))}
		// A queue that was stopped from the page accepts no more jobs.
		sms.Put(m, rand.IntN(3), twill.JobOptions{Key: fmt.Sprint("code-", n), Group: "network " + string(rune('A'+rand.IntN(3)))})
		if n%12 == 0 {
			thumbs.Put(fmt.Sprintf("picture-%05d.jpg", n), n%2)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}
